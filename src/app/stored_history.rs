//! The history in a data directory, for commands that only look: a server may be using it meanwhile.

use std::path::Path;
use std::sync::Arc;

use crate::admin::{read_query, write_page};
use crate::api::proto::tidegate::v1::{QueryUsageRequest, QueryUsageResponse};
use crate::history::{DataDir, History};
use crate::units::Timestamp;

/// A history that is only read.
#[derive(Debug)]
pub(crate) struct StoredHistory(History);

impl StoredHistory {
    /// The history of a data directory, which is neither created nor locked nor changed.
    ///
    /// # Errors
    /// There is none, in words.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, String> {
        let path = DataDir::usage_in(data_dir);
        if !path.is_file() {
            return Err(format!("--data-dir {}: there is no history in it (usage.sqlite)", data_dir.display()));
        }
        Ok(Self(History::stored_in(data_dir)))
    }

    /// Answers a request as a server does. Blocks.
    ///
    /// # Errors
    /// The request is not valid, or the history cannot be read, in words.
    pub(crate) fn answer(&self, request: QueryUsageRequest, now: Timestamp) -> Result<QueryUsageResponse, String> {
        let query = read_query(request).map_err(|status| status.message().to_owned())?;
        let page = self.0.query(&query, now, &Arc::default()).map_err(|error| error.to_string())?;
        Ok(write_page(page))
    }
}
