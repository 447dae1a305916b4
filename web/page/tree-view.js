// The tree, drawn live: SVG, for the mouse, the finger, the keyboard and the screen reader.
//
// Arrows walk the tree as they do in any tree view (left to the parent, right to the first child, up and down as one reads),
// Enter or a click chooses a node.

import { layOut } from './layout.js';
import { element, factList, milliseconds, rate } from './text.js';

const SVG = 'http://www.w3.org/2000/svg';

/** More nodes are not drawn, but counted. */
const MAX_DRAWN = 300;

/** A report that is older, ms, says nothing of now. */
const STALE = 30_000;

/** Messages behind: up to the first as good as none, above the second late. */
const FRESH = 2;
const LATE = 64;

const RADIUS = 15;
const MARGIN = 26;

/** A tree that would be higher is drawn smaller. */
const HIGH = 560;
const SMALL_RADIUS = 11;

export class TreeView {
  #frame;
  #svg;
  #edges;
  #dots;
  #details;
  #note;
  #groups = new Map();
  #paths = new Map();
  #nodes = new Map();
  #layout = null;
  #chosen = null;
  /** Which node the Tab key comes to. */
  #focus = null;
  #describe;
  #resize;
  #width = 0;
  #radius = RADIUS;
  /** Where we have scrolled to: whoever scrolls elsewhere is left alone. */
  #scrolled = 0;
  #height = 0;

  /** Draws into an element; `describe(node)` gives `[term, value]` pairs on our connection with a node. */
  constructor(frame, details, describe) {
    this.#frame = frame;
    this.#details = details;
    this.#describe = describe;
    this.#svg = document.createElementNS(SVG, 'svg');
    this.#svg.setAttribute('role', 'tree');
    this.#svg.setAttribute('aria-label', 'Nodes of the group');
    this.#edges = this.#svg.appendChild(document.createElementNS(SVG, 'g'));
    this.#edges.setAttribute('aria-hidden', 'true');
    this.#dots = this.#svg.appendChild(document.createElementNS(SVG, 'g'));
    this.#dots.setAttribute('role', 'presentation');
    this.#note = element('p', 'note');
    frame.replaceChildren(this.#svg, this.#note);
    this.#svg.addEventListener('keydown', (event) => this.#key(event));
    this.#svg.addEventListener('click', ({ target }) => {
      const id = this.#idOf(target.closest('g.node'));
      if (id !== null) this.#choose(id);
    });
    // Not at once: drawing changes the frame's height, which would be told of again.
    this.#resize = new ResizeObserver(() => {
      if (frame.clientWidth !== this.#width) setTimeout(() => this.#place());
    });
    this.#resize.observe(frame);
  }

  /** No more drawing. */
  end() {
    this.#resize.disconnect();
    this.#layout = null;
    this.#frame.replaceChildren();
    this.#details.replaceChildren();
  }

  /**
   * Shows nodes: `{ id, label, name, parents, isSelf, lag, rtt, rate, date }`; `lag` in messages, `rtt` in ms, `rate` in B/s,
   * each null if it is not known; the first parent delivers, the others stand by.
   */
  show(nodes) {
    const drawn = nodes.slice(0, MAX_DRAWN);
    this.#nodes = new Map(drawn.map((node) => [node.id, node]));
    this.#layout = layOut(drawn);
    this.#note.textContent = nodes.length > drawn.length ? `and ${nodes.length - drawn.length} more` : '';
    for (const [id, group] of this.#groups) {
      if (this.#nodes.has(id)) continue;
      group.remove();
      this.#groups.delete(id);
    }
    if (!this.#nodes.has(this.#focus)) this.#focus = this.#layout.order[0] ?? null;
    if (!this.#nodes.has(this.#chosen)) this.#chosen = null;
    this.#place();
    this.#showDetails();
  }

  #place() {
    if (this.#layout === null) return;
    const { places, order, across, depth } = this.#layout;
    this.#width = this.#frame.clientWidth;
    const width = Math.max(this.#width, 200);
    // From the top down if all leaves have room next to each other, else from the left, as lines are read.
    const down = across * 46 + 2 * MARGIN <= width;
    const small = !down && across * 40 > HIGH;
    this.#radius = small ? SMALL_RADIUS : RADIUS;
    const step = down ? Math.min(110, (width - 2 * MARGIN) / Math.max(across - 1, 1)) : small ? 25 : 40;
    const level = down ? 84 : Math.max(54, Math.min(130, (width - 2 * MARGIN - 60) / Math.max(depth, 1)));
    const breadth = (across - 1) * step;
    const size = down
      ? { width, height: depth * level + 2 * MARGIN + 16 }
      : { width: Math.max(width, depth * level + 2 * MARGIN + 60), height: breadth + 2 * MARGIN };
    const start = down ? Math.max(MARGIN, (width - breadth) / 2) : MARGIN;
    const point = ({ across: a, depth: d }) => down
      ? [start + a * step, MARGIN + d * level]
      : [MARGIN + d * level, start + a * step];
    this.#svg.setAttribute('viewBox', `0 0 ${size.width} ${size.height}`);
    this.#svg.setAttribute('width', size.width);
    this.#svg.setAttribute('height', size.height);
    this.#svg.classList.toggle('down', down);
    this.#svg.classList.toggle('small', small);

    const lines = new Map();
    let before = null;
    for (const id of order) {
      const node = this.#nodes.get(id);
      const at = places.get(id);
      const group = this.#group(node, at);
      const [x, y] = point(at);
      group.style.transform = `translate(${x}px, ${y}px)`;
      // As they are read, for who does not see where they are.
      const next = before === null ? this.#dots.firstChild : before.nextSibling;
      if (next !== group) this.#dots.insertBefore(group, next);
      before = group;
      for (const parent of node.parents) {
        const above = places.get(parent);
        if (above === undefined || parent === id) continue;
        const [px, py] = point(above);
        const line = curve(px, py, x, y, down);
        lines.set(`${parent}>${id}`, { line, standby: parent !== node.parents[0] });
      }
    }
    for (const [key, path] of this.#paths) {
      if (lines.has(key)) continue;
      path.remove();
      this.#paths.delete(key);
    }
    for (const [key, { line, standby }] of lines) {
      let path = this.#paths.get(key);
      if (path === undefined) {
        path = this.#edges.appendChild(document.createElementNS(SVG, 'path'));
        this.#paths.set(key, path);
      }
      path.setAttribute('d', line);
      path.setAttribute('class', standby ? 'standby' : 'edge');
    }
    // Reading where it is scrolled to has the browser lay the page out, so only when it may have to be scrolled.
    if (size.height !== this.#height && order.length > 0) this.#showRoot(point(places.get(order[0]))[1]);
    this.#height = size.height;
  }

  /** Keeps the first node in the middle of a tree that is higher than its frame. */
  #showRoot(y) {
    if (Math.abs(this.#frame.scrollTop - this.#scrolled) > 2) return;
    this.#frame.scrollTop = y - this.#frame.clientHeight / 2;
    this.#scrolled = this.#frame.scrollTop;
  }

  #group(node, at) {
    let group = this.#groups.get(node.id);
    if (group === undefined) {
      group = document.createElementNS(SVG, 'g');
      group.setAttribute('role', 'treeitem');
      group.append(...['circle', 'text', 'text'].map((name) => document.createElementNS(SVG, name)));
      group.children[1].setAttribute('class', 'label');
      group.children[2].setAttribute('class', 'figure');
      this.#groups.set(node.id, group);
    }
    const [circle, label, figure] = group.children;
    circle.setAttribute('r', this.#radius);
    const health = healthOf(node);
    group.setAttribute('class', `node ${health}${node.isSelf ? ' self' : ''}${node.id === this.#chosen ? ' chosen' : ''}${at.children.length > 0 ? ' inner' : ''}`);
    group.setAttribute('aria-level', at.depth + 1);
    group.setAttribute('aria-posinset', at.index + 1);
    group.setAttribute('aria-setsize', at.parent === null ? 1 : this.#layout.places.get(at.parent).children.length);
    group.setAttribute('aria-selected', node.id === this.#chosen);
    if (at.children.length > 0) group.setAttribute('aria-expanded', 'true');
    else group.removeAttribute('aria-expanded');
    group.setAttribute('aria-label', this.#spoken(node, at));
    group.setAttribute('tabindex', node.id === this.#focus ? 0 : -1);
    label.textContent = node.label;
    figure.textContent = health === 'late' || health === 'behind' ? `−${node.lag}` : node.rtt === null ? '' : milliseconds(node.rtt);
    return group;
  }

  #spoken(node, at) {
    const parts = [node.name];
    if (at.parent !== null) parts.push(`below ${this.#nodes.get(at.parent).name}`);
    if (at.children.length > 0) parts.push(`${at.children.length} below it`);
    parts.push({ fresh: 'up to date', behind: `${node.lag} messages behind`, late: `late, ${node.lag} messages behind`, unknown: 'no report' }[healthOf(node)]);
    if (node.rtt !== null) parts.push(`round trip ${milliseconds(node.rtt)}`);
    return parts.join(', ');
  }

  #key(event) {
    const { order, places } = this.#layout ?? {};
    const id = this.#idOf(event.target.closest('g.node'));
    if (!order || id === null) return;
    const place = places.get(id);
    const here = order.indexOf(id);
    const to = {
      ArrowUp: order[here - 1],
      ArrowDown: order[here + 1],
      ArrowLeft: place.parent,
      ArrowRight: place.children[0],
      Home: order[0],
      End: order.at(-1),
    };
    if (event.key === 'Enter' || event.key === ' ') this.#choose(id);
    else if (Object.hasOwn(to, event.key)) this.#go(to[event.key] ?? id);
    else return;
    event.preventDefault();
  }

  #go(id) {
    this.#groups.get(this.#focus)?.setAttribute('tabindex', -1);
    this.#focus = id;
    const group = this.#groups.get(id);
    group.setAttribute('tabindex', 0);
    group.focus();
  }

  #choose(id) {
    this.#chosen = this.#chosen === id ? null : id;
    this.#go(id);
    for (const [other, group] of this.#groups) {
      group.classList.toggle('chosen', other === this.#chosen);
      group.setAttribute('aria-selected', other === this.#chosen);
    }
    this.#showDetails();
  }

  #idOf(group) {
    for (const [id, other] of this.#groups) {
      if (other === group) return id;
    }
    return null;
  }

  #showDetails() {
    const node = this.#nodes.get(this.#chosen);
    if (node === undefined) {
      this.#details.replaceChildren(element('p', 'note', this.#nodes.size > 0 ? 'Choose a node to see more of it.' : ''));
      return;
    }
    const name = (id) => this.#nodes.get(id)?.name ?? `node ${id}`;
    const below = [...this.#nodes.values()].filter(({ parents }) => parents.includes(node.id));
    const facts = [
      ['Parent', node.parents.length > 0 ? name(node.parents[0]) : '–'],
      ['Standing by', node.parents.slice(1).map(name).join(', ') || '–'],
      ['Children', below.filter(({ parents }) => parents[0] === node.id).map((child) => child.name).join(', ') || '–'],
      ['Behind by', node.lag === null ? '–' : node.lag === 1 ? '1 message' : `${node.lag} messages`],
      ['Round trip to parent', node.rtt === null ? '–' : milliseconds(node.rtt)],
      ['Rate', node.rate === null ? '–' : rate(node.rate)],
      ['Heard of', node.date === null ? '–' : node.date.toLocaleTimeString()],
    ];
    const ours = this.#describe(node);
    this.#details.replaceChildren(
      element('h3', '', node.name),
      factList(facts),
      ...(ours.length > 0 ? [element('h3', '', 'Our connection with it'), factList(ours)] : []),
    );
  }
}

/** From one node to another; along one level in an arc, so that it does not run through those between. */
function curve(px, py, x, y, down) {
  if (down) {
    const middle = py === y ? y + 34 : (py + y) / 2;
    return `M${px},${py} C${px},${middle} ${x},${middle} ${x},${y}`;
  }
  const middle = px === x ? x + 34 : (px + x) / 2;
  return `M${px},${py} C${middle},${py} ${middle},${y} ${x},${y}`;
}

function healthOf({ lag, date, isSelf }) {
  if (!isSelf && date !== null && Date.now() - date.getTime() > STALE) return 'unknown';
  if (lag === null) return 'unknown';
  return lag <= FRESH ? 'fresh' : lag <= LATE ? 'behind' : 'late';
}
