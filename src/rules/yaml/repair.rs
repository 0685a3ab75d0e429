//! Rewrites forms that libyaml accepts and the parser rejects into forms that both accept.
//!
//! The parser is stricter than libyaml about insignificant white space. It reports a position; white space that is equally
//! insignificant is inserted there, and the text is parsed again. Nothing about the context has to be guessed, and line
//! numbers do not change.

use saphyr_parser::ScanError;

/// The number of repairs of one file. Each parses the file from its beginning, so this bounds the time; a file with more such
/// places is rejected with an error at the next one.
const MAX_REPAIRS: usize = 200;

/// And the bytes that are parsed for them: those of large files are fewer.
const MAX_PARSED_BYTES: usize = 64 << 20;

/// Repairs of a file however large it is.
const ANY_REPAIRS: usize = 10;

/// What the repairs may add to a file besides its own length: a long scalar that is indented again and again would grow without end.
const MAX_ADDED_BYTES: usize = 8 << 10;

/// A text that is being repaired.
#[derive(Debug)]
pub(super) struct Repair {
    text: String,
    repairs: usize,
    /// The length up to which it may grow.
    max_bytes: usize,
    /// Of all repairs so far.
    parsed_bytes: usize,
}

impl Repair {
    /// Starts with the original text.
    pub(super) fn new(text: &str) -> Self {
        let max_bytes = text.len().saturating_mul(2).saturating_add(MAX_ADDED_BYTES);
        Self { text: text.to_owned(), repairs: 0, max_bytes, parsed_bytes: 0 }
    }

    /// The text with the repairs so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Repairs the position of the error. Returns false if that is not possible.
    pub(super) fn mend(&mut self, error: &ScanError) -> bool {
        let is_cheap = self.repairs < ANY_REPAIRS || self.parsed_bytes < MAX_PARSED_BYTES;
        let within = self.repairs < MAX_REPAIRS && is_cheap && self.text.len() <= self.max_bytes;
        let at = self.text.char_indices().map(|(at, _)| at).nth(error.marker().index());
        let (true, Some(at)) = (within, at) else { return false };
        self.repairs += 1;
        self.parsed_bytes = self.parsed_bytes.saturating_add(self.text.len());
        match error.info() {
            "invalid indentation in flow construct" | "invalid indentation" => self.indent(at),
            "invalid indentation in quoted scalar" => self.indent_scalar(at, error.marker().col()),
            _ => false,
        }
    }

    /// Indents a line inside a list or map in brackets, where leading spaces are insignificant. The necessary amount is not
    /// known: if it was not enough, the line is indented again.
    fn indent(&mut self, at: usize) -> bool {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
        self.text.insert_str(line, INDENT);
        true
    }

    /// Indents the continuation lines of the quoted scalar that begins at `at`, in that column: leading spaces of a line are not
    /// part of it.
    fn indent_scalar(&mut self, at: usize, column: usize) -> bool {
        let Some(scalar) = self.text.get(at..).and_then(|rest| rest.get(..quoted_length(rest)?)) else { return false };
        let indent = " ".repeat(column.min(MAX_COLUMN) + 1);
        let lines = scalar.matches(['\n', '\r']).count();
        if lines.saturating_mul(indent.len()) > self.max_bytes {
            return false;
        }
        let mut indented = String::with_capacity(scalar.len());
        for line in scalar.split_inclusive(['\n', '\r']) {
            // A document marker must stay at the beginning of its line; between `\r` and `\n` there is no line.
            let is_line = line != "\n" || !indented.ends_with('\r');
            if !indented.is_empty() && is_line && !line.starts_with("---") && !line.starts_with("...") {
                indented.push_str(&indent);
            }
            indented.push_str(line);
        }
        let changed = indented.len() > scalar.len();
        let end = at + scalar.len();
        self.text.replace_range(at..end, &indented);
        changed
    }
}

/// The usual indentation of one level.
const INDENT: &str = "    ";

/// A key must be in the first 1,024 characters of its line, for libyaml too.
const MAX_COLUMN: usize = 1_024;

/// The length of the quoted scalar that a text begins with.
fn quoted_length(text: &str) -> Option<usize> {
    let mut rest = text.char_indices().peekable();
    let (_, quote) = rest.next().filter(|(_, c)| ['"', '\''].contains(c))?;
    while let Some((at, c)) = rest.next() {
        if c == '\\' && quote == '"' {
            rest.next();
        } else if c == quote && quote == '\'' && rest.next_if(|(_, c)| *c == '\'').is_some() {
            // An escaped quote.
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use saphyr_parser::Parser;

    use super::*;

    /// A quoted scalar of many lines far to the right is indented by 1,025 bytes for each of them, and, as that is not what is wrong with it,
    /// again and again.
    #[test]
    fn repairs_do_not_let_a_file_grow_without_end() {
        let before = format!("a: [{}", " ".repeat(1_000));
        let texts = [10, 1_000, 100_000].map(|lines| format!("{before}\"{}\"", "\n;".repeat(lines)));
        let found = include_str!("../../../fuzz/seeds/access_file/scalar_indented_again").to_owned();
        for text in texts.into_iter().chain([found]) {
            let mut repair = Repair::new(&text);
            while let Some(Err(error)) = Parser::new_from_str(repair.text()).find(Result::is_err) {
                if !repair.mend(&error) {
                    break;
                }
            }
            let (most, length) = (4 * text.len() + 2 * MAX_ADDED_BYTES, repair.text().len());
            assert!(length <= most, "{} became {length}", text.len());
        }
    }
}
