//! Lists that are short as a rule.

/// Beyond so many entries a list grows as lists do.
const FEW: usize = 4;

/// Appends to a list that has one or two entries in most connections, where a vector would begin with room for four.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() && list.len() < FEW {
        list.reserve_exact(1);
    }
    list.push(item);
}
