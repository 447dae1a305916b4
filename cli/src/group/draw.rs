//! A tree as lines of text.

use std::collections::{BTreeMap, BTreeSet};

use sinnet_alm::group::{NodeId, TreeEntry};

/// Who delivers to whom, as the nodes said.
pub(crate) fn parents(tree: &BTreeMap<NodeId, TreeEntry>) -> BTreeMap<NodeId, Option<NodeId>> {
    tree.iter().map(|(id, entry)| (*id, entry.report.links.upstreams.first().copied())).collect()
}

/// One line a node, each below its parent; `label` says what stands there. Nodes without a parent that is known come last, with a `?`.
pub(crate) fn lines(
    parents: &BTreeMap<NodeId, Option<NodeId>>,
    label: impl Fn(NodeId) -> String,
) -> Vec<String> {
    let mut children: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for (id, parent) in parents {
        if let Some(parent) = parent.filter(|_| *id != OWNER) {
            children.entry(parent).or_default().push(*id);
        }
    }
    let mut lines = vec![label(OWNER)];
    let mut drawn = BTreeSet::from([OWNER]);
    branch(OWNER, "", &children, &label, &mut drawn, &mut lines);
    for id in parents.keys().filter(|id| !drawn.contains(id)) {
        lines.push(format!("? {}", label(*id)));
    }
    lines
}

const OWNER: NodeId = NodeId(0);

/// Levels below the owner that are drawn: as many as a root path has nodes.
const MAX_DEPTH: usize = 64;

fn branch(
    id: NodeId,
    before: &str,
    children: &BTreeMap<NodeId, Vec<NodeId>>,
    label: &impl Fn(NodeId) -> String,
    drawn: &mut BTreeSet<NodeId>,
    lines: &mut Vec<String>,
) {
    // Deeper than a tree may be: somebody's reports are not true.
    if before.chars().count() >= 3 * MAX_DEPTH {
        return;
    }
    let below = children.get(&id).map_or(&[][..], Vec::as_slice);
    for (i, child) in below.iter().enumerate() {
        // Each has one parent, so nobody is met twice, whatever the nodes said.
        let last = i + 1 == below.len();
        lines.push(format!("{before}{} {}", if last { "└─" } else { "├─" }, label(*child)));
        drawn.insert(*child);
        branch(
            *child,
            &format!("{before}{}", if last { "   " } else { "│  " }),
            children,
            label,
            drawn,
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(links: &[(u32, Option<u32>)]) -> Vec<String> {
        let parents = links.iter().map(|(id, parent)| (NodeId(*id), parent.map(NodeId))).collect();
        lines(&parents, |id| format!("node {}", id.0))
    }

    #[test]
    fn children_stand_below_their_parents() {
        let lines = draw(&[(0, None), (1, Some(0)), (2, Some(0)), (3, Some(1)), (4, Some(1)), (5, Some(3))]);
        assert_eq!(
            lines,
            ["node 0", "├─ node 1", "│  ├─ node 3", "│  │  └─ node 5", "│  └─ node 4", "└─ node 2"]
        );
    }

    #[test]
    fn what_is_deeper_than_a_tree_may_be_is_listed_and_not_drawn() {
        let chain: Vec<_> = (1..=8000).map(|id| (id, Some(id - 1))).collect();
        let lines = draw(&chain);
        assert_eq!(lines.len(), 8001);
        assert_eq!(lines.iter().filter(|line| line.starts_with('?')).count(), 8000 - MAX_DEPTH);
    }

    #[test]
    fn whatever_the_nodes_say_each_stands_there_once() {
        assert_eq!(draw(&[]), ["node 0"]);
        // One that has no parent, one whose parent nobody knows, two that hang on each other, and an owner that says it has one.
        let lines = draw(&[
            (0, Some(1)),
            (1, None),
            (2, Some(77)),
            (3, Some(4)),
            (4, Some(3)),
            (5, Some(5)),
            (6, Some(0)),
        ]);
        assert_eq!(
            lines,
            ["node 0", "└─ node 6", "? node 1", "? node 2", "? node 3", "? node 4", "? node 5"]
        );
    }
}
