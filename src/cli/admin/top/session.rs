//! The loop of the view: keys, what the server sends, and four pictures a second.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::draw::{Theme, draw};
use super::feed::Feed;
use super::model::{Event, Model};
use super::screen::{Input, Screen, inputs};
use crate::cli::admin::connection::{Connection, Failure};
use crate::runtime::clock::Clock;

/// Shows the view until a key or a signal ends it. Exit status: 0, or 128 and the number of the signal.
///
/// # Errors
/// There is no connection at the start, the server rejects the caller, or the terminal is gone.
pub(super) fn run(connection: Connection, every: Duration) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::NoAnswer(error.to_string()))?;
    let address = connection.address();
    let ended = runtime.block_on(async {
        let (feed, events) = Feed::open(connection, every).await?;
        // Nothing is drawn before there is a connection: its errors are lines like those of other commands.
        show(Model::new(address), feed, events)
            .await
            .map_err(|error| Failure::NoAnswer(format!("the terminal: {error}")))
    });
    // A call that has no answer yet is not waited for.
    runtime.shutdown_background();
    ended
}

async fn show(mut model: Model, mut feed: Feed, mut events: mpsc::Receiver<Event>) -> std::io::Result<ExitCode> {
    let (clock, theme) = (Clock::start(), Theme::of_environment());
    let mut signals = Signals::new()?;
    let mut screen = Screen::open()?;
    let mut inputs = inputs()?;
    let mut pictures = interval(PICTURE);
    pictures.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_due = tokio::select! {
            input = inputs.recv() => {
                let input = input.ok_or_else(|| std::io::Error::other("it is closed"))?;
                if let Input::Key(key) = input {
                    model.key(key);
                }
                // Keys that came together are one picture.
                inputs.is_empty()
            }
            Some(event) = events.recv() => {
                model.update(clock.now(), event);
                false
            }
            _ = pictures.tick() => true,
            number = signals.next() => return Ok(ExitCode::from(ENDED_BY_SIGNAL + number)),
        };
        if model.has_quit() {
            return Ok(ExitCode::SUCCESS);
        }
        feed.follow(&model);
        while let Some(call) = model.next_call(clock.now()) {
            feed.call(call);
        }
        if is_due {
            screen.draw(|frame| draw(frame, &model, theme, clock.now()))?;
        }
    }
}

/// Signals that end the view. In raw mode Ctrl-C is a key.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => SIGTERM,
            _ = self.interrupt.recv() => SIGINT,
            _ = self.hang_up.recv() => SIGHUP,
        }
    }
}

/// The exit status that shells report for a process that a signal ended, less its number.
const ENDED_BY_SIGNAL: u8 = 128;
const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;
/// Between two pictures without a key.
const PICTURE: Duration = Duration::from_millis(250);
