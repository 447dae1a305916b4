// Where the nodes of a tree are drawn. Nodes tell of themselves, so the graph may be no tree at all: every node is placed once,
// below the first parent that is known, and a circle is cut somewhere.

/**
 * Places nodes `{ id, parents: [id …] }`, of which the first parent counts. Returns `{ places: Map id → { across, depth,
 * parent, children, index }, order: [id …], across, depth }`: `across` in leaves (the first is 0), `order` as one reads.
 */
export function layOut(nodes) {
  const known = new Map(nodes.map((node) => [node.id, node]));
  const children = new Map(nodes.map(({ id }) => [id, []]));
  const roots = [];
  for (const { id, parents } of nodes) {
    const parent = parents.find((other) => known.has(other) && other !== id);
    if (parent === undefined) roots.push(id);
    else children.get(parent).push(id);
  }
  const places = new Map();
  const order = [];
  let leaves = 0;
  let deepest = 0;
  const place = (root) => {
    // No recursion: how deep a tree claims to be is others' word.
    const open = [{ id: root, depth: 0, parent: null, index: 0 }];
    const finished = [];
    while (open.length > 0) {
      const { id, depth, parent, index } = open.pop();
      if (places.has(id)) continue;
      const below = children.get(id).filter((child) => !places.has(child)).sort(compare);
      places.set(id, { across: 0, depth, parent, children: below, index });
      order.push(id);
      finished.push(id);
      deepest = Math.max(deepest, depth);
      if (below.length === 0) places.get(id).across = leaves++;
      for (let i = below.length - 1; i >= 0; i--) open.push({ id: below[i], depth: depth + 1, parent: id, index: i });
    }
    for (const id of finished.reverse()) {
      const at = places.get(id);
      // One that was reached by another way in the meantime is that one's child.
      at.children = at.children.filter((child) => places.get(child).parent === id);
      if (at.children.length > 0) {
        const [first, last] = [places.get(at.children[0]), places.get(at.children.at(-1))];
        at.across = (first.across + last.across) / 2;
      }
    }
  };
  roots.sort(compare).forEach(place);
  // What is left are circles and what hangs below them.
  for (const { id } of nodes) {
    if (!places.has(id)) place(id);
  }
  return { places, order, across: Math.max(leaves, 1), depth: deepest };
}

const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
