//! Forms that libyaml takes and the parser rejects, made into such as both take.
//!
//! The parser is stricter than libyaml about white space that means nothing. It says where; at that very place the text
//! gets white space that means nothing either, and is parsed again. So nothing has to be guessed about what surrounds the
//! place, and lines stay where they are.

use saphyr_parser::ScanError;

/// How often one file is repaired. Each time it is parsed from its beginning, so this bounds how much longer than others a
/// file takes; a file with more such places gets an error at the next one.
const MAX_REPAIRS: usize = 200;

/// A text that is being repaired.
#[derive(Debug)]
pub(super) struct Repair {
    text: String,
    repairs: usize,
}

impl Repair {
    /// Begins with a text that has not been repaired yet.
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), repairs: 0 }
    }

    /// The text as it is now.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text has been changed so that the error does not occur again where it did.
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

    /// Indents the line further, in which a list or map in brackets goes on: blanks at the beginning of a line mean nothing
    /// there. How far is not known: if it was not enough, this is done again.
    fn indent(&mut self, at: usize) -> bool {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
        self.text.insert_str(line, INDENT);
        true
    }

    /// Indents every line in which the quoted scalar that begins at `at`, in that column, goes on: blanks at the beginning
    /// of a line are no part of it.
    fn indent_scalar(&mut self, at: usize, column: usize) -> bool {
        let Some(scalar) = self.text.get(at..).and_then(|rest| rest.get(..quoted_length(rest)?)) else { return false };
        let indent = " ".repeat(column.min(MAX_COLUMN) + 1);
        let mut indented = String::with_capacity(scalar.len());
        for line in scalar.split_inclusive(['\n', '\r']) {
            // A marker of documents ends the text here as there; the text between `\r` and `\n` is no line.
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

/// As far as one level of a configuration is usually.
const INDENT: &str = "    ";

/// A key is in the first 1,024 characters of its line, for libyaml too.
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
