//! The terminal: taken for the view and given back, whatever ends it; and its keys.

use std::io;
use std::panic;
use std::thread;

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// The terminal in raw mode, on its alternate screen. Dropping it restores what was there; so does a panic, before its message.
#[derive(Debug)]
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// The terminal cannot be set up; then it is restored.
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        // ratatui's hook, which runs next, restores everything but the cursor. Nothing is dropped when a panic aborts.
        let restore = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let _gone = execute!(io::stdout(), Show);
            restore(panic);
        }));
        Ok(Self(terminal))
    }

    /// Draws a picture; only what differs from the last one is written.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(picture).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What comes from the terminal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// The size of the terminal has changed.
    Resized,
}

/// Reads the keyboard on a thread of its own, which waits while [`MAX_INPUTS`] are not looked at. The channel is closed when the
/// terminal is gone; the thread ends with the process.
pub(super) fn inputs() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(MAX_INPUTS);
    let read = move || {
        while let Ok(event) = event::read() {
            let input = match event {
                event::Event::Key(key) if key.kind != KeyEventKind::Release => Input::Key(key),
                event::Event::Resize(..) => Input::Resized,
                _ => continue,
            };
            if sender.blocking_send(input).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("tidegate-keys".to_owned()).spawn(read)?;
    Ok(receiver)
}

/// Keys that wait; more wait in the terminal.
const MAX_INPUTS: usize = 64;

#[cfg(test)]
mod tests;
