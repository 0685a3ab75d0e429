//! The history in a data directory, asked as a server is.

use std::path::Path;
use std::sync::Arc;

use super::super::connection::Failure;
use crate::api::proto::tidegate::v1::{QueryUsageRequest, QueryUsageResponse};
use crate::app::StoredHistory;
use crate::runtime::clock::Clock;

/// An opened history.
pub(super) struct Stored {
    history: Arc<StoredHistory>,
    clock: Clock,
}

impl Stored {
    /// The history of this directory.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn open(data_dir: &Path) -> Result<Self, Failure> {
        let history = StoredHistory::open(data_dir).map_err(Failure::NoAnswer)?;
        Ok(Self { history: Arc::new(history), clock: Clock::start() })
    }

    /// One page.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn answer(&self, request: &QueryUsageRequest) -> Result<QueryUsageResponse, Failure> {
        self.history.answer(request.clone(), self.clock.now()).map_err(Failure::NoAnswer)
    }
}
