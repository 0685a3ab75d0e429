//! Rows of a history, whether a server answers for them or a data directory.

use prost_types::Timestamp as WireTime;

use super::super::connection::{Failure, Session, UsageClient, next_page};
use super::Resolution;
use super::stored::Stored;
use crate::api::proto::tidegate::v1::query_usage_request::GroupBy;
use crate::api::proto::tidegate::v1::{KeptRows, QueryUsageRequest, QueryUsageResponse, UsageFilter, UsageRow};

/// Where the rows are.
pub(super) enum Used<'c> {
    /// A server answers.
    Server(Box<Session<'c>>),
    /// A data directory has them.
    Stored(Stored),
}

/// Which rows are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Only this domain and rule; empty: all.
    pub(super) domain: String,
    pub(super) rule: String,
    /// From this second on.
    pub(super) from_s: Option<i64>,
    /// Rows of this length for each counter; `None`: one row for each rule.
    pub(super) by_counter: Option<Resolution>,
}

/// The usage of a counter, or a rule, in one bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedRow {
    /// The second in which the bucket begins.
    pub(super) begins_s: u64,
    pub(super) domain: String,
    pub(super) rule: String,
    pub(super) entries: Vec<(String, String)>,
    /// The counters that are not tracked individually.
    pub(super) other: bool,
    pub(super) requests: u64,
    pub(super) denied: u64,
    pub(super) hits: u64,
    pub(super) refunded: u64,
}

/// All rows of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundRows {
    pub(super) rows: Vec<UsedRow>,
    /// The second from which on there are minutes, hours and days; `None`: none are kept.
    pub(super) kept: [Option<i64>; 3],
    /// The history is only in memory.
    pub(super) in_memory: bool,
}

impl Used<'_> {
    /// All rows, page by page.
    ///
    /// # Errors
    /// There is no answer, or there are too many rows.
    pub(super) async fn rows(&mut self, asked: &Asked) -> Result<FoundRows, Failure> {
        let mut request = asked.request();
        let mut all = FoundRows::default();
        loop {
            let page = match self {
                Self::Server(session) => {
                    let asked = request.clone();
                    session.ask_usage(async |client: &mut UsageClient| client.query_usage(asked).await).await?
                }
                Self::Stored(stored) => stored.answer(&request)?,
            };
            let QueryUsageResponse { rows, next_page_token, in_memory, kept, .. } = page;
            (all.kept, all.in_memory) = (since(&kept), in_memory);
            all.rows.extend(rows.into_iter().map(read));
            if all.rows.len() > MAX_ROWS {
                return Err(Failure::NoAnswer(format!(
                    "rule {} has more than {MAX_ROWS} rows of the history: choose less with --since or --resolution hour",
                    asked.rule
                )));
            }
            if !next_page(&mut request.page_token, next_page_token)? {
                return Ok(all);
            }
        }
    }
}

impl Asked {
    fn request(&self) -> QueryUsageRequest {
        let filter = UsageFilter { domain: self.domain.clone(), rule: self.rule.clone(), ..UsageFilter::default() };
        let names = [GroupBy::Domain, GroupBy::Rule];
        let counters = self.by_counter.map(|_| [GroupBy::Time, GroupBy::Counter]);
        let groups = names.into_iter().chain(counters.into_iter().flatten());
        QueryUsageRequest {
            from: self.from_s.map(|seconds| WireTime { seconds, nanos: 0 }),
            filter: Some(filter),
            group_by: groups.map(|group| group as i32).collect(),
            bucket: self
                .by_counter
                .map(|rows| prost_types::Duration { seconds: rows.seconds().cast_signed(), nanos: 0 }),
            page_size: PAGE,
            ..QueryUsageRequest::default()
        }
    }
}

impl Resolution {
    /// All of them, the shortest first.
    pub(super) const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The length of a row.
    pub(super) const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

fn since(kept: &[KeptRows]) -> [Option<i64>; 3] {
    Resolution::ALL.map(|resolution| {
        let is_of =
            |kept: &&KeptRows| kept.length.is_some_and(|length| length.seconds == resolution.seconds().cast_signed());
        kept.iter().find(is_of).and_then(|kept| kept.since).map(|since| since.seconds)
    })
}

fn read(row: UsageRow) -> UsedRow {
    let counts = row.counts.unwrap_or_default();
    UsedRow {
        begins_s: row.time.and_then(|time| u64::try_from(time.seconds).ok()).unwrap_or(0),
        domain: row.domain,
        rule: row.rule,
        entries: row.entries.into_iter().map(|entry| (entry.key, entry.value)).collect(),
        other: row.other,
        requests: counts.num_requests,
        denied: counts.num_requests_denied,
        hits: counts.hits,
        refunded: counts.hits_refunded,
    }
}

/// Rows of one rule: a thousand counters in each minute of a day and a half, some hundred megabytes.
const MAX_ROWS: usize = 2_000_000;
/// Rows of one page.
const PAGE: u32 = 1_000;
