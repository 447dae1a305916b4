// Runs before a page's own scripts: what goes wrong is kept in `troubles`, and a few hands to use the page with.
globalThis.troubles = [];
addEventListener('error', ({ message, target }) => troubles.push(message ?? `not loaded: ${target.src ?? target.href}`), true);
addEventListener('unhandledrejection', ({ reason }) => troubles.push(`rejected: ${reason}`));
addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => troubles.push(`policy: ${violatedDirective} ${blockedURI}`));
console.error = console.warn = (...said) => troubles.push(said.join(' '));
globalThis.hand = {
  /** Types into a field. */
  fill(id, text) {
    const field = document.getElementById(id);
    field.value = text;
    field.dispatchEvent(new Event('input', { bubbles: true }));
  },
  click: (selector) => document.querySelector(selector).click(),
  key: (key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })),
  /** Chooses a file of so many bytes, each with the lowest bits of its place. */
  choose(name, size) {
    const files = new DataTransfer();
    files.items.add(new File([Uint8Array.from({ length: size }, (_, at) => at % 251)], name));
    document.getElementById('file-input').files = files.files;
  },
  /** The newest file. */
  file() {
    const row = document.querySelector('#files > li');
    if (row === null) return null;
    const part = (name) => row.querySelector(`.${name}`);
    return {
      name: part('name').textContent,
      state: row.dataset.state,
      said: part('state').textContent,
      sha256: part('sha256').textContent,
      save: part('download').hidden ? null : part('download').download,
    };
  },
  /** What was said, without the time. */
  chat: () => [...document.querySelectorAll('#chat-log li')].map((line) => [line.className, line.querySelector('.text').textContent]),
  /** What is wider than the page. */
  tooWide() {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return [];
    return [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > room + 1)
      .map((one) => `${one.tagName} ${one.id || one.className} ends at ${one.getBoundingClientRect().right} of ${room}`);
  },
};
