//! Page tokens: the position after a page, valid only for the database that issued them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The end of the last page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The range, as the first page resolved it.
    pub(super) from: i64,
    pub(super) to: i64,
    /// The key of the last row.
    pub(super) last: Key,
}

/// The key of a row, which defines the order of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) time: i64,
    pub(super) domain: String,
    pub(super) rule: String,
    pub(super) value: String,
}

impl Cursor {
    /// The cursor as a token for the same `question` and database.
    pub(super) fn token(&self, database: i64, question: &str) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        hex(seal(database, question, &text).iter().chain(text.as_bytes()))
    }

    /// Reads a token; `None` if this database did not issue it for this `question`.
    pub(super) fn read(token: &str, database: i64, question: &str) -> Option<Self> {
        let bytes = unhex(token)?;
        let (sealed, text) = bytes.split_at_checked(SEAL_BYTES)?;
        let text = str::from_utf8(text).ok()?;
        (sealed == seal(database, question, text)).then(|| serde_json::from_str(text).ok())?
    }
}

fn seal(database: i64, question: &str, text: &str) -> [u8; SEAL_BYTES] {
    let mut digest = Sha256::new();
    digest.update(database.to_le_bytes());
    digest.update((question.len() as u64).to_le_bytes());
    digest.update(question);
    digest.update(text);
    let mut seal = [0; SEAL_BYTES];
    for (byte, digested) in seal.iter_mut().zip(digest.finalize()) {
        *byte = digested;
    }
    seal
}

fn hex<'b>(bytes: impl Iterator<Item = &'b u8>) -> String {
    bytes.flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| u8::try_from(char::from(*byte).to_digit(16)?).ok();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect())?
}

/// Enough of the digest to detect any accidental change.
const SEAL_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_question_and_its_database_only() {
        let last = Key { time: 60, domain: "d\"\0ü".into(), ..Key::default() };
        let cursor = Cursor { from: 0, to: 99, last };
        let token = cursor.token(7, "q");
        assert_eq!(Cursor::read(&token, 7, "q"), Some(cursor));
        let changed = format!("{}0", &token[..token.len() - 1]);
        let bad = [("", 7, "q"), (&token, 8, "q"), (&token, 7, "r"), (&changed, 7, "q"), ("zz", 7, "q"), ("ü", 7, "q")];
        for (token, database, question) in bad {
            assert_eq!(Cursor::read(token, database, question), None, "{token} {database} {question}");
        }
    }
}
