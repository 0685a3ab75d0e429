//! `tidegate counters list`: asks page after page, and keeps the most used counters of all.

use std::cmp::Reverse;

use clap::Args;

use crate::api::proto::tidegate::v1::{Counter, Entry, ListCountersRequest, ListCountersResponse};
use crate::cli::admin::connection::{Client, Connection, Failure, Outcome, Session, next_page};
use crate::cli::admin::progress::Progress;
use crate::cli::admin::render::{counted, entries};
use crate::cli::admin::time::{instant_from, length};
use crate::cli::descriptor::parse_entry;
use crate::cli::table::{Align, Table, paragraph};
use crate::units::Timestamp;

/// `tidegate counters list`.
#[allow(clippy::struct_excessive_bools)] // They are switches, each on its own.
#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    /// Only counters of this domain
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    domain: Option<String>,

    /// Only counters of this rule, by its path as /rlconfig shows it
    #[arg(long, value_name = "PATH", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    rule: Option<String>,

    /// Only counters with this entry; repeat the flag for more entries
    #[arg(long = "entry", value_name = "KEY=VALUE", value_parser = parse_entry)]
    entries: Vec<Entry>,

    /// Only counters that would deny one more hit now
    #[arg(long)]
    denied: bool,

    /// Only counters that are banned now
    #[arg(long)]
    banned: bool,

    /// Only counters with hits that wait in their queue
    #[arg(long)]
    queued: bool,

    /// As the store of shared counters has them: what all replicas have counted, of counters that this server knows
    #[arg(long)]
    shared: bool,

    /// Number of counters to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    top: u32,

    #[command(flatten)]
    connection: Connection,
}

impl List {
    /// Asks the server.
    pub(super) fn outcome(self) -> Outcome {
        let Self { domain, rule, entries, denied, banned, queued, shared, top, connection } = self;
        let (domain, rule) = (domain.unwrap_or_default(), rule.unwrap_or_default());
        let page_token = String::new();
        let request = ListCountersRequest { domain, rule, entries, denied, banned, queued, top, page_token, shared };
        let answer = connection.run(async |session| all_pages(session, request, Progress::on_terminal()).await)?;
        connection.print("ListCountersResponse", &answer, render).map(Into::into)
    }
}

/// The most used counters of all pages, as one answer.
async fn all_pages(
    mut session: Session<'_>,
    mut request: ListCountersRequest,
    mut progress: Progress,
) -> Result<ListCountersResponse, Failure> {
    let mut all = ListCountersResponse::default();
    loop {
        let call = async |client: &mut Client| client.list_counters(request.clone()).await;
        let page = session.ask(call).await?;
        let token = merge(&mut all, page, request.top);
        if !next_page(&mut request.page_token, token)? {
            return Ok(all);
        }
        progress.show(&searched(all.progress));
    }
}

/// Adds a page, and returns the token of the next one.
pub(in crate::cli::admin) fn merge(all: &mut ListCountersResponse, page: ListCountersResponse, top: u32) -> String {
    all.counters.extend(page.counters);
    all.counters.sort_by_key(|counter| Reverse(counter.used));
    all.counters.truncate(usize::try_from(top).unwrap_or(usize::MAX));
    all.matched = all.matched.saturating_add(page.matched);
    all.searched = all.searched.saturating_add(page.searched);
    (all.total, all.progress) = (page.total, page.progress);
    page.next_page_token
}

/// `searched 40 %`, rounded down, so that 100 % is the end.
fn searched(share: f64) -> String {
    format!("searched {} %", (share.clamp(0.0, 1.0) * 100.0).floor())
}

/// A table; the rule is in a line above it if it is the same for all counters, which leaves room for their entries.
fn render(answer: &ListCountersResponse, now: Timestamp) -> String {
    let ListCountersResponse { counters, matched, total, .. } = answer;
    let Some(first) = counters.first() else { return format!("no counters ({total} searched)") };
    let has_places = counters.iter().any(|counter| counter.limit_place > 1);
    let place =
        |counter: &Counter| if has_places { format!(" (limit {})", counter.limit_place) } else { String::new() };
    let rule = |counter: &Counter| format!("{}{}", counter.rule, place(counter));
    let same = Some(rule(first)).filter(|same| counters.iter().all(|counter| rule(counter) == *same));
    let columns = if same.is_some() { &COLUMNS[1..] } else { &COLUMNS[..] };
    let mut table = Table::new(columns).repeating_cut();
    for counter in counters {
        let rule = same.is_none().then(|| rule(counter));
        table.row(rule.into_iter().chain(cells(counter)));
        if let Some(until) = &counter.banned_until {
            table.note(&format!("banned until {}", instant_from(until, now)));
        }
    }
    let title = same.map(|same| paragraph(0, &format!("rule {same}")) + "\n").unwrap_or_default();
    let listed = counters.len();
    format!("{title}{table}\n{listed} of {} ({total} searched)", counted(*matched, "matching counter"))
}

const COLUMNS: [(&str, Align); 7] = [
    ("rule", Align::Left),
    ("entries", Align::Left),
    ("used", Align::Right),
    ("limit", Align::Right),
    ("remaining", Align::Right),
    ("reset", Align::Right),
    ("state", Align::Left),
];

/// The cells of a counter after its rule.
fn cells(counter: &Counter) -> [String; 6] {
    [
        entries(&counter.entries),
        counter.used.to_string(),
        limit(counter),
        counter.remaining.to_string(),
        counter.reset.as_ref().map(length).unwrap_or_default(),
        state(counter),
    ]
}

/// `10 per 1m`; `-` for request overrides, whose requests carry their limit.
fn limit(counter: &Counter) -> String {
    match &counter.period {
        Some(_) if !counter.calendar.is_empty() => format!("{} per {}", counter.limit, counter.calendar),
        Some(period) => format!("{} per {}", counter.limit, length(period)),
        None => "-".to_owned(),
    }
}

fn state(counter: &Counter) -> String {
    let state = if counter.banned_until.is_some() {
        "banned"
    } else if counter.denied {
        "over limit"
    } else {
        ""
    };
    let states = [state, if counter.set { "set" } else { "" }];
    states.into_iter().filter(|state| !state.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use prost_types::{Duration, Timestamp as WireTime};

    use super::*;
    use crate::cli::table::WIDTH;

    const NOW: Timestamp = Timestamp::from_ns(1_795_665_600_000_000_000);

    fn counter(rule: &str, value: &str, used: u64) -> Counter {
        Counter {
            rule: rule.into(),
            entries: vec![Entry { key: "user".into(), value: value.into() }],
            limit_place: 1,
            used,
            limit: 10,
            period: Some(Duration { seconds: 60, nanos: 0 }),
            remaining: 10_u64.saturating_sub(used),
            reset: Some(Duration { seconds: 12, nanos: 1 }),
            ..Counter::default()
        }
    }

    #[test]
    fn counters() {
        let over = Counter { denied: true, set: true, ..counter("api.user", "bob", 10) };
        let banned = Counter {
            limit_place: 2,
            denied: true,
            banned_until: Some(WireTime { seconds: 1_795_666_200, nanos: 0 }),
            ..counter("api.user", "mallory", 3)
        };
        let own = Counter { period: None, reset: None, ..counter("api.(override)", "x", 0) };
        let cases = [
            (vec![], 0, "no counters (1000000 searched)"),
            (
                vec![counter("api.user", "alice", 7)],
                1,
                "\
rule api.user
entries     used      limit  remaining  reset  state
user=alice     7  10 per 1m          3    13s
1 of 1 matching counter (1000000 searched)",
            ),
            (
                vec![over, banned, own],
                40,
                "\
rule                      entries       used      limit  remaining  reset  state
api.user (limit 1)        user=bob        10  10 per 1m          0    13s  over limit, set
api.user (limit 2)        user=mallory     3  10 per 1m          7    13s  banned
    banned until 2026-11-26T04:10:00Z (in 10m)
api.(override) (limit 1)  user=x           0          -         10
3 of 40 matching counters (1000000 searched)",
            ),
        ];
        for (counters, matched, expected) in cases {
            let answer = ListCountersResponse { counters, matched, total: 1_000_000, ..Default::default() };
            assert_eq!(render(&answer, NOW), expected);
        }
    }

    #[test]
    fn long_and_hostile_values_fit() {
        let huge = Counter {
            limit: u32::MAX,
            remaining: u64::MAX,
            denied: true,
            set: true,
            limit_place: u32::MAX,
            banned_until: Some(WireTime { seconds: i64::MIN, nanos: i32::MIN }),
            reset: Some(Duration { seconds: i64::MAX, nanos: i32::MAX }),
            ..counter(&"x\x1b[2J".repeat(100), &"y\u{202e}".repeat(100_000), u64::MAX)
        };
        let other = Counter { rule: "api".into(), ..huge.clone() };
        for counters in [vec![huge.clone(); 3], vec![huge, other]] {
            let text = render(&ListCountersResponse { counters, ..Default::default() }, NOW);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
        }
    }

    #[test]
    fn pages_are_merged_to_the_most_used_counters_of_all() {
        let page = |used: &[u64], next: &str| ListCountersResponse {
            counters: used.iter().map(|used| counter("api.user", "u", *used)).collect(),
            matched: 100,
            searched: 1_000,
            total: 3_000,
            progress: 0.5,
            next_page_token: next.into(),
        };
        let mut all = ListCountersResponse::default();
        for (used, token, expected) in
            [(&[9, 5, 1][..], "a", &[9, 5, 1][..]), (&[], "b", &[9, 5, 1]), (&[7, 5, 4], "", &[9, 7, 5])]
        {
            assert_eq!(merge(&mut all, page(used, token), 3), token);
            assert_eq!(all.counters.iter().map(|counter| counter.used).collect::<Vec<_>>(), expected);
        }
        assert_eq!((all.matched, all.searched, all.total, all.next_page_token.as_str()), (300, 3_000, 3_000, ""));
    }

    #[test]
    fn progress_is_a_share() {
        for (share, expected) in [
            (0.0, "searched 0 %"),
            (0.409, "searched 40 %"),
            (0.999, "searched 99 %"),
            (1.0, "searched 100 %"),
            (f64::INFINITY, "searched 100 %"),
            (-1.0, "searched 0 %"),
        ] {
            assert_eq!(searched(share), expected, "{share}");
        }
    }
}
