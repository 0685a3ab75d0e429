//! The words most similar to one that does not exist: what was probably meant.

/// The word that was probably meant, if one is similar: for a hint of a single word.
///
/// Upper case, spaces and hyphens count as lower case and underscores. Cost: linear in the length of each word, and more only
/// for words of nearly the same letters.
pub(crate) fn nearest<'w>(found: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let found = plain(found)?;
    let letters = Letters::of(&found);
    let close = words.filter(|word| letters.differences(word) <= MAX_TYPING_ERRORS * MAX_CHAR_BYTES * 2);
    let (distance, word) = close.map(|word| (strsim::osa_distance(&found, word), word)).min_by_key(|near| near.0)?;
    // Two typing errors, or one in a short word; with more it is a different word.
    (distance <= MAX_TYPING_ERRORS && distance * 3 <= word.len()).then_some(word)
}

/// The `count` words that are most similar, the best first; of equals, the first given: for errors that list what exists.
///
/// How different they may be is not limited, but nothing is similar to a `found` of more than 500 bytes, nor is a word of that
/// length. Cost: linear in the length of all words, and a comparison of the 64 that share the most letters.
pub(crate) fn nearest_of<'w>(found: &str, words: impl Iterator<Item = &'w str>, count: usize) -> Vec<&'w str> {
    let Some(found) = plain(found) else { return Vec::new() };
    let letters = Letters::of(&found);
    let short = words.filter(|word| word.len() <= MAX_COMPARED_BYTES);
    let mut close: Vec<_> = short.map(|word| (letters.differences(word), word)).collect();
    close.sort_by_key(|near| near.0);
    close.truncate(MAX_CANDIDATES.max(count));
    let similarity = |word: &str| strsim::jaro_winkler(&found, &word.to_lowercase());
    let mut ranked: Vec<_> = close.into_iter().map(|(_, word)| (similarity(word), word)).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    ranked.into_iter().take(count).map(|(_, word)| word).collect()
}

/// The text as it is compared; `None` if it is too long for that.
fn plain(found: &str) -> Option<String> {
    (found.len() <= MAX_COMPARED_BYTES).then(|| found.to_lowercase().replace(['-', ' '], "_"))
}

/// How often each byte occurs in a text: cheap to compare, and similar for similar texts.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    counts: [usize; 256],
    total: usize,
}

impl Letters {
    /// The letters of a text. Cost: linear in its length.
    pub(super) fn of(text: &str) -> Self {
        let mut counts = [0_usize; 256];
        for byte in text.bytes() {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                *count = count.saturating_add(1);
            }
        }
        Self { counts, total: text.len() }
    }

    /// How many bytes one text has that the other has not; at most twice the edit distance if all are ASCII. A text that lacks some
    /// of the letters is further away than one with others in addition.
    pub(super) fn differences(&self, word: &str) -> usize {
        let mut left = self.counts;
        let mut common = 0_usize;
        for byte in word.bytes() {
            if let Some(count) = left.get_mut(usize::from(byte)).filter(|count| **count > 0) {
                *count -= 1;
                common = common.saturating_add(1);
            }
        }
        self.total.abs_diff(common).saturating_add(word.len().abs_diff(common))
    }
}

/// A longer text is no misspelled name.
const MAX_COMPARED_BYTES: usize = 500;

/// With more typing errors it is a different word.
const MAX_TYPING_ERRORS: usize = 2;

/// The bytes of a character in UTF-8.
const MAX_CHAR_BYTES: usize = 4;

/// The words that are compared letter by letter.
const MAX_CANDIDATES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_probably_meant() {
        let long = "u".repeat(MAX_COMPARED_BYTES + 1);
        for (found, words, expected) in [
            ("untl", &["unit", "until"][..], Some("until")),
            ("Rate-Limit", &["rate_limit", "rate_limits"], Some("rate_limit")),
            ("vlaue", &["value"], Some("value")),
            ("ke", &["key"], Some("key")),
            ("k", &["key"], None),
            ("colour", &["value"], None),
            ("größe", &["grösse", "key"], Some("grösse")),
            (&long, &[&long[1..]], None),
            ("", &["key"], None),
            ("key", &[], None),
        ] {
            assert_eq!(nearest(found, words.iter().copied()), expected, "{found}");
        }
    }

    #[test]
    fn the_nearest_words_come_first() {
        let paths = ["api.tenant", "api.partner_acme", "other", "api.partner", "api.partner.endpoint"];
        for (found, count, expected) in [
            ("api.partnr", 2, &["api.partner", "api.partner_acme"][..]),
            ("API.Tenant", 1, &["api.tenant"]),
            ("otehr", 1, &["other"]),
            ("api.partner.endpont", 2, &["api.partner.endpoint", "api.partner"]),
            ("api.partner", 0, &[]),
        ] {
            assert_eq!(nearest_of(found, paths.into_iter(), count), expected, "{found}");
        }
        assert_eq!(nearest_of("z", ["b", "a"].into_iter(), 5), ["b", "a"], "equals keep their order");
    }

    #[test]
    fn long_texts_are_not_compared() {
        let long = "a".repeat(MAX_COMPARED_BYTES + 1);
        assert!(nearest_of(&"a".repeat(1 << 20), ["a"].into_iter(), 5).is_empty());
        assert_eq!(nearest_of("a", [&*long, "b"].into_iter(), 5), ["b"]);
    }

    #[test]
    fn the_best_of_many_words_is_found() {
        let words: Vec<_> = (0..10_000).map(|n| format!("api.partner_{n}.endpoint_{n}.region_{n}")).collect();
        let found = nearest_of("api.partner_4711.endpont_4711.region_4711", words.iter().map(|word| &**word), 3);
        assert_eq!(found.first().copied(), Some("api.partner_4711.endpoint_4711.region_4711"));
        assert_eq!(found.len(), 3);
    }
}
