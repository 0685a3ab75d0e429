//! Rewrites forms that libyaml accepts and the parser rejects into forms that both accept.
//!
//! The parser is stricter than libyaml about insignificant white space. It reports a position; white space that is equally
//! insignificant is inserted there, and the text is parsed again. Nothing about the context has to be guessed, and line
//! numbers do not change.

use saphyr_parser::ScanError;

/// The number of repairs of one file. Each parses the file from its beginning, so this bounds the time; a file with more such
/// places is rejected with an error at the next one.
const MAX_REPAIRS: usize = 200;

/// A text that is being repaired.
#[derive(Debug)]
pub(super) struct Repair {
    text: String,
    repairs: usize,
}

impl Repair {
    /// Starts with the original text.
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), repairs: 0 }
    }

    /// The text with the repairs so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Repairs the position of the error. Returns false if that is not possible.
    pub(super) fn mend(&mut self, error: &ScanError) -> bool {
        let within = self.repairs < MAX_REPAIRS;
        let at = self.text.char_indices().map(|(at, _)| at).nth(error.marker().index());
        let (true, Some(at)) = (within, at) else { return false };
        self.repairs += 1;
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
