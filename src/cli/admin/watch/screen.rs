//! A text on the terminal that is written again in the same place.

use std::env;
use std::io::{self, IsTerminal, Write, stdout};

use rustix::termios::tcgetwinsize;

use crate::cli::complain;
use crate::sanitize::sanitize_lines;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

/// The text on the terminal that standard output is. Nothing has to be restored at the end.
#[derive(Debug)]
pub(super) struct Screen {
    /// What is shown, which is what will be written over.
    shown: String,
    size: Size,
}

impl Screen {
    /// `None` if standard output is no terminal, or one that cannot move its cursor.
    pub(super) fn on_terminal() -> Option<Self> {
        let moves = env::var_os("TERM").is_none_or(|term| term != "dumb" && !term.is_empty());
        (stdout().is_terminal() && moves).then(|| Self { shown: String::new(), size: size() })
    }

    /// The current size of the terminal.
    pub(super) fn size(&mut self) -> Size {
        let size = size();
        if size != self.size {
            // Lines that are wrapped now cannot be counted: the next text begins below them.
            (self.shown, self.size) = (String::new(), size);
        }
        size
    }

    /// Shows a text, which fits the size, in place of the last one.
    pub(super) fn show(&mut self, text: &str) -> io::Result<()> {
        let mut out = stdout().lock();
        out.write_all(over(&self.shown, text).as_bytes())?;
        text.clone_into(&mut self.shown);
        out.flush()
    }

    /// Writes a line on standard error, above the text.
    pub(super) fn say(&mut self, sentence: &str) {
        let shown = std::mem::take(&mut self.shown);
        // An output that is closed shows with the next report.
        let _closed = stdout().lock().write_all(removed(&shown).as_bytes()).and_then(|()| stdout().flush());
        complain(&sanitize_lines(sentence));
        if !shown.is_empty() {
            let _closed = self.show(&shown);
        }
    }
}

/// What writes a text over another one, line by line, so that nothing flickers.
fn over(shown: &str, text: &str) -> String {
    let lines: String = text.lines().flat_map(|line| [line, TO_END_OF_LINE, "\n"]).collect();
    format!("{}{lines}{TO_END_OF_SCREEN}", up(shown))
}

fn removed(shown: &str) -> String {
    if shown.is_empty() { String::new() } else { format!("{}{TO_END_OF_SCREEN}", up(shown)) }
}

/// To the beginning of a text, from the line below it.
fn up(shown: &str) -> String {
    if shown.is_empty() { String::new() } else { format!("\r\x1b[{}A", shown.lines().count()) }
}

fn size() -> Size {
    let known = tcgetwinsize(stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or(USUAL, |size| Size { columns: size.ws_col.into(), lines: size.ws_row.into() })
}

/// What a terminal has that does not say.
const USUAL: Size = Size { columns: 80, lines: 24 };
/// ECMA-48: erase in line, erase in display.
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_SCREEN: &str = "\x1b[J";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_over_the_last_one() {
        assert_eq!(over("", "a\nb"), "a\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(over("a\nb", "c"), "\r\x1b[2Ac\x1b[K\n\x1b[J");
        assert_eq!(removed("a\nb\nc"), "\r\x1b[3A\x1b[J");
        assert_eq!(removed(""), "");
    }
}
