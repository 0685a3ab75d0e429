//! `tidegate usage`: who used how much between two instants, from the history.

mod ranking;
mod text;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use jiff::Zoned;

use super::connection::{Connection, Failure, Outcome, Printed, UsageClient, block_on, next_page};
use super::progress::Progress;
use super::time::{When, parse_when, time_zone, to_wire, zoned};
use super::usage_selection::UsageSelection;
use crate::api::proto::tidegate::v1::query_usage_request::GroupBy;
use crate::api::proto::tidegate::v1::{QueryUsageRequest, QueryUsageResponse};
use crate::runtime::clock::Clock;
use crate::units::Timestamp;
use ranking::{Order, Ranking};
use text::{Answer, Counted, Found, Range};

/// `tidegate usage`.
#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(in crate::cli) struct Usage {
    /// Beginning: -2h, -7d, today, yesterday, a date, or a time (RFC 3339)
    #[arg(long, value_name = "TIME", default_value = "-24h", allow_hyphen_values = true, value_parser = parse_when)]
    from: When,

    /// End, as for --from; a day is included
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true, value_parser = parse_when)]
    to: When,

    /// Count by the values of this entry key, which `usage: by` of the rules file names [default: by rule]
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    by: Option<String>,

    /// With --by: count the checks of rules, one for each descriptor, by the values of any key; implied by --rule
    #[arg(long, requires = "by")]
    checks: bool,

    #[command(flatten)]
    selection: UsageSelection,

    /// Only what was denied something, the most denied first
    #[arg(long)]
    denied: bool,

    /// What comes first [default: the most requests, with --denied the most denied]
    #[arg(long, value_name = "WHAT")]
    sort: Option<Order>,

    /// Maximum number of rules or values to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    /// Use UTC for days and times [default: the time zone of this machine, or that of TZ]
    #[arg(long)]
    utc: bool,

    /// Print CSV, with a line of titles
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Usage {
    /// Asks for all pages, and prints what counts most.
    pub(super) fn outcome(self) -> Outcome {
        let range = self.range(Clock::start().now()).map_err(Failure::NoAnswer)?;
        let counted = self.counted();
        let request = self.request(&range, &counted);
        let usual = if self.denied { Order::Denied } else { Order::Requests };
        let order = self.sort.unwrap_or(usual);
        let ranking = Ranking::new(order, self.denied, usize::try_from(self.limit).unwrap_or(usize::MAX));
        let found = block_on(async {
            let mut client = self.connection.usage().await?;
            all_pages(&self.connection, &mut client, request, ranking).await
        });
        let found = found.map_err(|failure| if counted.is_of_requests() { with_hint(failure) } else { failure })?;
        let answer = Answer { range, counted, found };
        let (text, cut) = if self.connection.json {
            (answer.json().map_err(Failure::NoAnswer)?, answer.cut())
        } else if self.csv {
            (answer.csv(), answer.cut())
        } else {
            (answer.table(), None)
        };
        let warnings: Vec<_> = cut.into_iter().chain(answer.warning()).chain(answer.of_one_replica()).collect();
        Ok(Printed { text, warning: warnings.join("\n") })
    }

    /// The instants that are meant, at `now`. The future has no usage.
    fn range(&self, now: Timestamp) -> Result<Range, String> {
        let now = zoned(now, &time_zone(self.utc)?);
        let of = |flag: &str, at: Result<Zoned, String>| at.map_err(|error| format!("{flag}: {error}"));
        let from = of("--from", self.from.begin(&now))?;
        let to = of("--to", self.to.end(&now))?;
        let until_now = to >= now;
        Range::new(from, if until_now { now } else { to }, until_now)
    }

    fn counted(&self) -> Counted {
        match &self.by {
            None => Counted::Rules,
            Some(key) if self.checks || self.selection.rule.is_some() => Counted::Checks(key.clone()),
            Some(key) => Counted::Requests(key.clone()),
        }
    }

    fn request(&self, range: &Range, counted: &Counted) -> QueryUsageRequest {
        let groups = match counted {
            Counted::Rules => vec![GroupBy::Domain, GroupBy::Rule],
            Counted::Checks(_) | Counted::Requests(_) => vec![GroupBy::Entry],
        };
        let (entry_key, requests_by) = match counted {
            Counted::Rules => (String::new(), String::new()),
            Counted::Checks(key) => (key.clone(), String::new()),
            Counted::Requests(key) => (String::new(), key.clone()),
        };
        QueryUsageRequest {
            from: Some(to_wire(range.from.timestamp())),
            // Until now is until the server's now.
            to: (!range.until_now).then(|| to_wire(range.to.timestamp())),
            // What was denied is chosen from complete sums: this filter of the server leaves out counters of a value.
            filter: Some(self.selection.clone().filter(false)),
            group_by: groups.into_iter().map(Into::into).collect(),
            entry_key,
            requests_by,
            page_size: PAGE,
            ..QueryUsageRequest::default()
        }
    }
}

/// Asks page after page.
async fn all_pages(
    connection: &Connection,
    client: &mut UsageClient,
    mut request: QueryUsageRequest,
    mut ranking: Ranking,
) -> Result<Found, Failure> {
    let mut progress = Progress::on_terminal();
    let (mut pages, mut rows) = (0_u64, 0);
    loop {
        let mut page = connection.call(client.query_usage(request.clone())).await?.into_inner();
        (pages, rows) = (pages + 1, rows + page.rows.len());
        ranking.add(std::mem::take(&mut page.rows));
        if !next_page(&mut request.page_token, std::mem::take(&mut page.next_page_token))? {
            let QueryUsageResponse { history_from, in_memory, replicas, .. } = page;
            return Ok(Found { ranking, history_from, in_memory, replicas });
        }
        progress.show(&format!("read {rows} rows in {pages} pages"));
    }
}

/// Requests are counted by few keys, checks by all.
fn with_hint(failure: Failure) -> Failure {
    match failure {
        Failure::Status(error) if ["requests_by", "filter.entries"].iter().any(|field| error.starts_with(field)) => {
            Failure::Status(format!("{error}; --checks counts the checks of rules by any key"))
        }
        failure => failure,
    }
}

/// As many as a page may have.
const PAGE: u32 = 1_000;

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate usage                                    # each rule in the last 24 hours
  tidegate usage --by user --from yesterday --to yesterday
  tidegate usage --by user --denied --from -7d      # who was denied most in the last seven days?
  tidegate usage --by tenant --entry tenant=acme --from 2026-11-01 --to 2026-11-30
  tidegate usage --by endpoint --rule api.user.endpoint --from -2h
  tidegate usage --by user --from -30d --limit 100000 --csv > users.csv

Times:
  2026-11-27                  a day: --from begins with it, --to includes it
  today, yesterday, now       in the same way
  -90m, -2h                   so long before now
  -7d, -2w, -3mo              the same time by the clock, so many days, weeks or months ago
  2026-11-27T14:30            by the clocks of this machine (or of TZ, or with --utc in UTC)
  2026-11-27T14:30:00+01:00   an instant (RFC 3339)
The output says which range was counted, with the offset from UTC.

--by counts requests: each once, however many descriptors it has, and as denied if it was answered OVER_LIMIT. That needs the key
in `usage: by` of the rules file. With --checks or --rule, and without --by, the checks of rules are counted: one for each
descriptor that matched. Numbers lag behind by --history-flush of the server (5 s). Without its --data-dir there is one hour.

Usage is kept in minutes for 48 hours, then in hours for 60 days, then in days (UTC): a range counts those that begin within it.";
