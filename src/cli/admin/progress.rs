//! How far a command of several calls is: one line on a terminal that is overwritten.

use std::io::{IsTerminal, Write, stderr};

/// The line, which is removed at the end. Where standard error is no terminal, there is none.
#[derive(Debug)]
pub(super) struct Progress {
    on_terminal: bool,
    shown: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn on_terminal() -> Self {
        Self { on_terminal: stderr().is_terminal(), shown: false }
    }

    /// Shows a text of our own in place of the last one.
    pub(super) fn show(&mut self, text: &str) {
        if self.on_terminal {
            self.shown = true;
            let _gone = write!(stderr(), "\r{text}\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _gone = write!(stderr(), "\r\x1b[K");
        }
    }
}
