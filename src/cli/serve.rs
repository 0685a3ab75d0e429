//! `tidegate serve`: exit status 0 after an orderly shutdown, 1 when it could not start or failed, 130 after a second signal.

use std::process::ExitCode;

use super::complain;
use crate::app::{self, End};
use crate::settings::Settings;
use crate::telemetry::log;

/// Serves until the process is told to stop.
pub(super) fn run(settings: &Settings) -> ExitCode {
    if let Err(error) = log::start(&settings.log) {
        complain(&format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    match app::run(settings) {
        Ok(End::Orderly) => ExitCode::SUCCESS,
        Ok(End::Forced) => ExitCode::from(FORCED),
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// As a shell reports a process that an interrupt ended.
const FORCED: u8 = 130;
