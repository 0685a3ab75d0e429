//! Names that are similar to a misspelt one.

/// The most similar words, the nearest first.
pub(super) fn nearest_of<'k>(found: &str, words: impl Iterator<Item = &'k str>, count: usize) -> Vec<&'k str> {
    if found.len() > MAX_COMPARED {
        return Vec::new();
    }
    let mut near: Vec<_> = words.map(|word| (strsim::osa_distance(found, word), word)).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(count).map(|(_, word)| word).collect()
}

/// Longer texts are not compared: the cost grows with the product of the lengths.
const MAX_COMPARED: usize = 500;
