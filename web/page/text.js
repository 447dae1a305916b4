// What is shown of names and texts that come from strangers, and how figures are written.

/** Characters that are not seen, or turn the order of those around them (Unicode's Cc, Cf, line and paragraph separators). */
const INVISIBLE = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** A name in one line: nothing invisible, no more than `length` characters. */
export function oneLine(text, length = 128) {
  return clip(String(text).replace(/\s+/gu, ' ').replace(INVISIBLE, ''), length).trim();
}

/** The first characters of a text, with an ellipsis if there were more. */
export function clip(text, length) {
  // Cut first: a text may be long, and a code point is two units at most.
  const some = [...text.slice(0, 2 * length + 2)];
  return some.length > length ? `${some.slice(0, length).join('')}…` : text;
}

/** A file's name that is safe to save under: the last part of a path, visible, not hidden, at most 200 bytes. */
export function fileName(name) {
  const last = String(name).split(/[\\/]/).at(-1).replace(INVISIBLE, '').replace(/[<>:"|?*]/g, '_').replace(/^[.\s]+/u, '').trimEnd();
  const encoder = new TextEncoder();
  let short = [...last.slice(0, 200)];
  while (encoder.encode(short.join('')).length > 200) short = short.slice(0, -1);
  return short.join('').replace(/[.\s]+$/u, '') || 'file';
}

export function size(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (bytes >= 999.5 && unit < units.length - 1) {
    bytes /= 1000;
    unit++;
  }
  return `${unit === 0 || bytes >= 999.5 ? Math.round(bytes) : bytes.toPrecision(3)} ${units[unit]}`;
}

export const rate = (bytesPerSecond) => `${size(bytesPerSecond)}/s`;

export function milliseconds(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)} ms`;
}

/** An element with a class and a text, which is never markup. */
export function element(tag, className = '', text = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** A text whose direction of writing stays its own. */
export function isolated(text, className = '') {
  const made = element('bdi', className, text);
  made.dir = 'auto';
  return made;
}

/** A list of `[term, value]` pairs. */
export function factList(pairs) {
  const list = element('dl', 'facts');
  for (const [term, value] of pairs) {
    const pair = element('div');
    pair.append(element('dt', '', term), element('dd', '', value));
    list.append(pair);
  }
  return list;
}

/** A user's id, short: its first digits. */
export const shortId = (id) => oneLine(id, 6).replace(/…$/, '');
