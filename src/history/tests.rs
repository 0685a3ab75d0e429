//! Recording and queries, on a virtual clock.

mod requests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::usage::{Filter, Measure, Totals};

/// A Monday, 00:00 UTC.
const START: u64 = 1_795_996_800;

fn at(second: u64) -> Timestamp {
    Timestamp::from_ns((START + second) * 1_000_000_000)
}

/// A history whose counts the test sets, and which the test runs in place of a thread.
struct Lab {
    history: History,
    state: RecorderState,
    counts: Arc<Mutex<BTreeMap<Series, Totals>>>,
}

impl Lab {
    fn open(path: Option<&Path>, max_bytes: u64) -> Self {
        let counts = Arc::new(Mutex::new(BTreeMap::<Series, Totals>::new()));
        let source = Arc::clone(&counts);
        let mut last = BTreeMap::<Series, Totals>::new();
        let read = move |take: &mut dyn FnMut(Reading)| {
            for (series, counts) in source.lock().iter() {
                let used = counts.since(&last.insert(series.clone(), *counts).unwrap_or_default());
                take(Reading { series: series.clone(), used });
            }
        };
        let settings = Settings { path: path.map(Into::into), flush: Duration::from_secs(5), max_bytes };
        let (history, state) = History::open(&settings, Box::new(read), at(0)).unwrap();
        Self { history, state, counts }
    }

    /// Counts checks at a second, one hit each, and flushes.
    fn count(&mut self, second: u64, used: &[(Series, u64, u64)]) {
        for (series, checks, denied) in used {
            let counts = Totals::default()
                .with(Measure::RequestsDenied, *denied)
                .with(Measure::HitsDenied, *denied)
                .with(Measure::RequestsAllowed, checks - denied)
                .with(Measure::HitsWithinLimit, checks - denied);
            self.counts.lock().entry(series.clone()).or_default().add(&counts);
        }
        self.state.before = at(second);
        self.state.flush(at(second));
    }

    fn ask(&self, query: &Query) -> Page {
        self.history.query(query, at(1 << 31), &Arc::default()).unwrap()
    }

    /// Every row, page by page.
    fn all(&self, query: &Query) -> Vec<Row> {
        let (mut query, mut rows) = (query.clone(), Vec::new());
        loop {
            let page = self.ask(&query);
            assert!(page.rows.len() <= query.page_size.max(1), "{page:?}");
            rows.extend(page.rows);
            if page.next_page_token.is_empty() {
                return rows;
            }
            query.page_token = page.next_page_token;
        }
    }

    fn sum(&self, table: &str) -> u64 {
        let connection = self.state.writer.as_ref().unwrap().connection.lock();
        connection
            .query_row(&format!("SELECT coalesce(sum(checks), 0) FROM {table}"), (), |row| row.get::<_, i64>(0))
            .unwrap()
            .cast_unsigned()
    }
}

fn checks(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row.counts.get(Measure::Requests)).sum()
}

fn counter(rule: &str, value: &str) -> Series {
    Series::for_counter("d", rule, vec![("user".into(), value.into()), ("path".into(), "/x".into())])
}

fn by(groups: Groups) -> Query {
    Query { groups, page_size: 1_000, ..Query::default() }
}

#[test]
fn minutes_hours_days_and_totals_have_the_same_sums() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::open(Some(&dir.path().join("usage.sqlite")), 1 << 30);
    for step in 0..500 {
        let used = [(Series::for_rule("d", "d.a"), step % 7, step % 3 % (step % 7 + 1)), (Series::Unmatched, 1, 0)];
        lab.count(step * 601, &used);
    }
    let want: u64 = (0..500).map(|step| step % 7 + 1).sum();
    for table in ["usage_minute", "usage_hour", "usage_day"] {
        let kept = if table == "usage_minute" { lab.sum(table) <= want } else { lab.sum(table) == want };
        assert!(kept, "{table}: {} of {want}", lab.sum(table));
    }
    for bucket in [None, Some(1), Some(7), Some(60), Some(90), Some(1_440), Some(10_080)] {
        let query = by(Groups { bucket_minutes: bucket, ..Groups::default() });
        assert_eq!(checks(&lab.all(&query)), want, "by {bucket:?} minutes");
        assert_eq!(checks(&lab.all(&Query { page_size: 3, ..query })), want, "by {bucket:?} minutes, in pages");
    }
}

#[test]
fn rows_that_are_too_old_are_removed_and_coarser_ones_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.sqlite");
    let mut lab = Lab::open(Some(&path), 1 << 30);
    let day = 86_400;
    for n in 0..900 {
        lab.count(n * day + 3_700, &[(Series::for_rule("d", &format!("d.{n}")), 1, 0)]);
    }
    let count = |table: &str| lab.sum(table);
    assert_eq!((count("usage_minute"), count("usage_hour"), count("usage_day")), (3, 61, 732));
    let page = lab.ask(&by(Groups { bucket_minutes: Some(1), ..Groups::default() }));
    assert_eq!((page.rows.len(), checks(&page.rows)), (732, 732));
    assert_eq!(page.history_from, at((899 - 731) * day));
    let times: Vec<_> = page.rows.iter().map(|row| row.time.unwrap()).collect();
    assert_eq!(times.last(), Some(&at(899 * day + 3_660)), "minutes at the end");
    assert_eq!(times[728], at(896 * day + 3_600), "hours before");
    assert_eq!(times[0], at(168 * day), "days before that");
    let connection = lab.state.writer.as_ref().unwrap().connection.lock();
    let names: i64 = connection.query_row("SELECT count(*) FROM series", (), |row| row.get(0)).unwrap();
    assert_eq!(names, 732, "names without rows are removed");
}

#[test]
fn the_oldest_go_when_the_database_is_large() {
    let dir = tempfile::tempdir().unwrap();
    let bound = 2 << 20;
    let mut lab = Lab::open(Some(&dir.path().join("usage.sqlite")), bound);
    let mut used = 0;
    for minute in 0..300 {
        let series: Vec<_> = (0..200).map(|n| (Series::for_rule("d", &format!("d.{n}")), 1, 0)).collect();
        used += 200;
        lab.count(minute * 60, &series);
        let status = lab.history.status();
        assert_eq!(status.failure, None, "minute {minute}");
        assert!(status.bytes <= bound, "minute {minute}: {} bytes", status.bytes);
    }
    assert!(lab.sum("usage_minute") < used, "some minutes are gone");
    assert_eq!(checks(&lab.all(&by(Groups::default()))), used, "hours and days know of them");
    let rows = ["usage_minute", "usage_hour", "usage_day"].map(|table| {
        let connection = lab.state.writer.as_ref().unwrap().connection.lock();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get::<_, i64>(0)).unwrap()
    });
    assert_eq!(lab.history.status().rows, rows.iter().sum::<i64>().cast_unsigned());
}

#[test]
fn in_memory_the_last_hour_is_known() {
    let mut lab = Lab::open(None, 1 << 30);
    for minute in 0..200 {
        lab.count(minute * 60, &[(Series::for_rule("d", "d.a"), 1, 0)]);
    }
    let page = lab.ask(&by(Groups { bucket_minutes: Some(1), ..Groups::default() }));
    assert!(page.in_memory);
    assert_eq!(page.rows.len(), 61, "the minute that runs, and sixty before it");
    assert_eq!(page.history_from, at(139 * 60));
}

#[test]
fn sums_beyond_what_sqlite_counts_saturate() {
    let mut lab = Lab::open(None, 1 << 30);
    for minute in 0..3 {
        let counts = Totals::default().with(Measure::HitsDenied, (i64::MAX - 1).cast_unsigned() * (minute % 2 + 1));
        lab.counts.lock().insert(Series::for_rule("d", "d.a"), counts);
        lab.count(minute * 60, &[]);
    }
    let hits: Vec<_> = lab.all(&by(Groups::default())).iter().map(|row| row.counts.get(Measure::Hits)).collect();
    assert_eq!(hits, [u64::MAX]);
}

/// Two domains with a rule of the same name, single counters of one of them, and checks that matched no rule.
fn lab_of_two_domains() -> Lab {
    let mut lab = Lab::open(None, 1 << 30);
    let rule = |domain: &str, name: &str| Series::for_rule(domain, &format!("{domain}.{name}"));
    lab.counts.lock().insert(Series::Unmatched, Totals::default().with(Measure::RequestsUnmatched, 4));
    let used = [
        (rule("d", "a"), 10, 3),
        (rule("d", "b"), 5, 0),
        (rule("e", "a"), 2, 1),
        (counter("d.a", "ann"), 6, 3),
        (counter("d.a", "bob"), 3, 0),
        (Series::for_other("d", "d.a"), 1, 0),
    ];
    lab.count(0, &used);
    lab.count(60, &[(rule("d", "b"), 1, 0)]);
    lab
}

/// A row's names and checks.
type Reported<'a> = (&'a str, &'a str, &'a str, u64);

#[test]
fn groups() {
    let lab = lab_of_two_domains();
    let everything = lab.all(&by(Groups::default()));
    assert_eq!((checks(&everything), everything[0].counts.get(Measure::RequestsUnmatched)), (18, 4));
    let (domain, rule) = (Groups { domain: true, ..Groups::default() }, Groups { rule: true, ..Groups::default() });
    let of = |key: &str| Groups { entry_key: Some(key.into()), ..Groups::default() };
    let cases: [(Groups, &[Reported]); 5] = [
        (domain, &[("d", "", "", 16), ("e", "", "", 2)]),
        (rule, &[("", "d.a", "", 10), ("", "d.b", "", 6), ("", "e.a", "", 2)]),
        (of("user"), &[("", "", "", 1), ("", "", "ann", 6), ("", "", "bob", 3)]),
        (of("nothing"), &[("", "", "", 10)]),
        (Groups { rule: true, ..of("user") }, &[("", "d.a", "", 1), ("", "d.a", "ann", 6), ("", "d.a", "bob", 3)]),
    ];
    for (groups, want) in cases {
        let rows = lab.all(&by(groups.clone()));
        assert_eq!(rows.iter().map(reported).collect::<Vec<_>>(), want, "{groups:?}");
        assert!(rows.iter().all(|row| row.counts.get(Measure::RequestsUnmatched) == 0), "{groups:?}");
    }
}

#[test]
fn filters() {
    let lab = lab_of_two_domains();
    let by_rule = || Groups { rule: true, ..Groups::default() };
    let by_user = Groups { entry_key: Some("user".into()), ..Groups::default() };
    let of = |domain: &str| Filter { domain: Some(domain.into()), ..Filter::default() };
    let rule = Filter { rule: Some("d.b".into()), ..Filter::default() };
    let denied = || Filter { only_denied: true, ..Filter::default() };
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let bob = Filter { entries: vec![entry("user", "bob"), entry("path", "/x")], ..Filter::default() };
    let nobody = Filter { entries: vec![entry("user", "bob"), entry("user", "ann")], ..Filter::default() };
    let cases: [(Groups, Filter, &[Reported]); 7] = [
        (Groups::default(), of("d"), &[("", "", "", 16)]),
        (by_rule(), rule, &[("", "d.b", "", 6)]),
        (by_rule(), denied(), &[("", "d.a", "", 10), ("", "e.a", "", 2)]),
        (by_user, denied(), &[("", "", "ann", 6)]),
        (by_rule(), bob, &[("", "d.a", "", 3)]),
        (by_rule(), nobody, &[]),
        (Groups::default(), of("nowhere"), &[("", "", "", 0)]),
    ];
    for (groups, filter, want) in cases {
        let rows = lab.all(&Query { filter: filter.clone(), ..by(groups) });
        assert_eq!(rows.iter().map(reported).collect::<Vec<_>>(), want, "{filter:?}");
    }
    assert!(lab.history.knows(Some("d"), None).unwrap() && !lab.history.knows(Some("d"), Some("e.a")).unwrap());
}

fn reported(row: &Row) -> Reported<'_> {
    (&row.domain, &row.rule, &row.value, row.counts.get(Measure::Requests))
}

/// Measured, not checked: `cargo test --release --lib a_million_groups -- --ignored --nocapture`.
#[test]
#[ignore = "takes a minute"]
fn a_million_groups_are_paged() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::open(Some(&dir.path().join("usage.sqlite")), 1 << 30);
    let series: Vec<_> = (0..10_000).map(|n| (counter("d.a", &format!("user-{n}")), 1, n % 2)).collect();
    let watch = Stopwatch::start();
    for minute in 0..100 {
        lab.count(minute * 60, &series);
    }
    let status = lab.history.status();
    println!(
        "{} per flush, {} rows, {} bytes a row",
        watch.elapsed().as_ns() / 100_000_000,
        status.rows,
        status.bytes / status.rows
    );
    for (bucket_minutes, only_denied) in [(Some(1), false), (Some(1), true), (None, false)] {
        let groups = Groups { bucket_minutes, entry_key: Some("user".into()), ..Groups::default() };
        let query = Query { filter: Filter { only_denied, ..Filter::default() }, ..by(groups) };
        let watch = Stopwatch::start();
        let rows = lab.all(&query);
        println!("{} rows in {}", rows.len(), watch.elapsed());
        assert_eq!(checks(&rows), if only_denied { 500_000 } else { 1_000_000 });
    }
}

#[test]
fn foreign_tokens_and_empty_ranges_are_rejected() {
    let mut lab = Lab::open(None, 1 << 30);
    lab.count(0, &[(Series::for_rule("d", "d.a"), 1, 0), (Series::for_rule("d", "d.b"), 1, 0)]);
    let query = Query { page_size: 1, ..by(Groups { rule: true, ..Groups::default() }) };
    let page_token = lab.ask(&query).next_page_token;
    let ask = |query: &Query| lab.history.query(query, at(99), &Arc::default());
    let other = Query { page_token: page_token.clone(), ..by(Groups { domain: true, ..Groups::default() }) };
    assert!(matches!(ask(&other), Err(QueryError::Token)));
    assert!(matches!(ask(&Query { page_token: "00".into(), ..query.clone() }), Err(QueryError::Token)));
    let bigger = Query { page_token, page_size: 9, ..query.clone() };
    assert_eq!(ask(&bigger).unwrap().rows.len(), 1, "the page's size may change");
    for (from, to) in [(at(5), Some(at(5))), (at(5), Some(at(4))), (at(99), None)] {
        let range = Query { from: Some(from), to, ..query.clone() };
        assert!(matches!(ask(&range), Err(QueryError::EmptyRange)), "{from:?} {to:?}");
    }
    let unwanted = Arc::new(AtomicBool::new(true));
    let many: Vec<_> = (0..5_000).map(|n| (Series::for_rule("d", &format!("d.{n}")), 1, 0)).collect();
    lab.count(60, &many);
    assert!(matches!(lab.history.query(&query, at(99), &unwanted), Err(QueryError::TooLong)));
    lab.count(61, &many);
    assert_eq!(lab.history.status().failure, None, "the writer is not held to the query's time");
}

#[test]
fn what_fails_stops_the_history_and_it_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.sqlite");
    fs::create_dir(&path).unwrap();
    let mut lab = Lab::open(Some(&path), 1 << 30);
    let rule = Series::for_rule("d", "d.a");
    lab.count(0, &[(rule.clone(), 1, 0)]);
    let status = lab.history.status();
    assert!(status.failure.is_some() && status.failures == 1, "{status:?}");
    assert!(matches!(lab.history.query(&Query::default(), at(9), &Arc::default()), Err(QueryError::Unavailable(_))));

    fs::remove_dir(&path).unwrap();
    lab.count(60, &[(rule.clone(), 1, 0)]);
    assert_eq!(lab.history.status().failure, None);
    assert_eq!(checks(&lab.all(&Query::default())), 2, "nothing is lost meanwhile");

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    lab.count(120, &[(rule.clone(), 1, 0)]);
    assert!(lab.history.status().failure.unwrap().contains("locked"));
    drop(other);
    lab.count(180, &[(rule.clone(), 1, 0)]);
    let minutes: Vec<_> = lab
        .all(&by(Groups { bucket_minutes: Some(1), ..Groups::default() }))
        .iter()
        .map(|row| row.time.unwrap())
        .collect();
    assert_eq!(minutes, [at(0), at(60), at(120), at(180)], "each in its minute");

    fs::remove_file(&path).unwrap();
    lab.count(240, &[(rule, 1, 0)]);
    assert_eq!(checks(&lab.all(&Query::default())), 1, "a removed file is created again");
}

#[test]
fn a_corrupt_file_is_set_aside_and_a_later_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.sqlite");
    fs::write(&path, [b'x'; 8192]).unwrap();
    let mut lab = Lab::open(Some(&path), 1 << 30);
    lab.count(0, &[(Series::for_rule("d", "d.a"), 1, 0)]);
    assert_eq!(lab.history.status().failure, None);
    let kept = aside(dir.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read(&kept[0]).unwrap(), [b'x'; 8192]);
    drop(lab);
    for n in 0..5 {
        fs::write(&path, [b'y'; 4096]).unwrap();
        let lab = Lab::open(Some(&path), 1 << 30);
        assert_eq!(lab.history.status().failure.is_some(), n >= 3, "time {n}: {:?}", lab.history.status());
    }
    assert_eq!(aside(dir.path()).len(), 4);

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let lab = Lab::open(Some(&path), 1 << 30);
    assert!(lab.history.status().failure.unwrap().contains("schema version 99"));
}

#[test]
fn a_file_that_is_damaged_while_it_is_used_is_set_aside_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.sqlite");
    let rule = Series::for_rule("d", "d.a");
    drop({
        let mut lab = Lab::open(Some(&path), 1 << 30);
        lab.count(0, &[(rule.clone(), 1, 0)]);
        lab
    });
    let mut lab = Lab::open(Some(&path), 1 << 30);
    let damaged = vec![0xa5; usize::try_from(fs::metadata(&path).unwrap().len()).unwrap()];
    fs::write(&path, &damaged).unwrap();
    for second in 1..4 {
        lab.count(second, &[(rule.clone(), 1, 0)]);
    }
    assert_eq!(lab.history.status().failure, None);
    assert_eq!(aside(dir.path()).len(), 1);
    // A flush that was written before the damage was detected is in the damaged file.
    let rows = lab.all(&Query::default());
    assert!((1..=3).contains(&checks(&rows)), "{rows:?}");
}

/// The corrupt files that were set aside, without their journals.
fn aside(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |name: &str| name.contains(".corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm");
    paths.filter(|path| is_aside(&path.to_string_lossy())).collect()
}

#[test]
fn every_view_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.sqlite");
    let mut lab = Lab::open(Some(&path), 1 << 30);
    let user = Series::for_request("d", "user", "ann");
    lab.count(0, &[(Series::for_rule("d", "d.a"), 9, 2), (counter("d.a", "ann"), 9, 2), (user, 9, 2)]);
    drop(lab);
    let lab = Lab::open(Some(&path), 1 << 30);
    assert_eq!(lab.history.status().failure, None);
    let connection = Connection::open(&path).unwrap();
    let mut views = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'view'").unwrap();
    let views: Vec<String> = views.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(views.len(), 19, "{views:?}");
    for view in views {
        let rows: i64 = connection.query_row(&format!("SELECT count(*) FROM {view}"), (), |row| row.get(0)).unwrap();
        assert!(rows > 0, "{view}");
    }
}

#[derive(Clone, Debug)]
struct Use {
    minute: u64,
    rule: usize,
    user: usize,
    checks: u64,
    denied: u64,
}

fn uses() -> impl Strategy<Value = Vec<Use>> {
    let one = (0_u64..3_000, 0..3_usize, 0..4_usize, 1_u64..5, 0_u64..2);
    let one = one.prop_map(|(minute, rule, user, checks, denied)| Use { minute, rule, user, checks, denied });
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn groups_equal_a_naive_sum(
        mut uses in uses(), bucket in prop::sample::select(vec![None, Some(1_u32), Some(30), Some(60), Some(1_440)]),
        domain: bool, rule: bool, entry: bool, only_denied: bool, from in 0_u64..1_500, length in 1_u64..3_000, page_size in 1_usize..9,
    ) {
        uses.sort_by_key(|used| used.minute);
        let dir = tempfile::tempdir().unwrap();
        let mut lab = Lab::open(Some(&dir.path().join("usage.sqlite")), 1 << 30);
        lab.state.retention.minutes = 1 << 40;
        let rules = [("d", "d.a"), ("d", "d.b"), ("e", "e.a")];
        for used in &uses {
            let (domain, rule) = rules[used.rule];
            let user = ["ann", "bob", "cy", "dee"][used.user];
            let counter = Series::for_counter(domain, rule, vec![("user".into(), user.into())]);
            lab.count(used.minute * 60, &[(Series::for_rule(domain, rule), used.checks, used.denied), (counter, used.checks, used.denied)]);
        }
        let to = from + length;
        let within = || uses.iter().filter(|used| (from..to).contains(&used.minute));
        let mut want: BTreeMap<(Option<u64>, &str, &str, &str), u64> = BTreeMap::new();
        for used in within() {
            let same = |other: &&Use| other.rule == used.rule && (!entry || other.user == used.user);
            if only_denied && within().filter(same).all(|other| other.denied == 0) {
                continue;
            }
            // Day buckets are aligned to the epoch, and the start is a day's.
            let time = bucket.map(|bucket| used.minute / u64::from(bucket) * u64::from(bucket));
            let name = |wanted: bool, name: &'static str| if wanted { name } else { "" };
            let (in_domain, for_rule) = rules[used.rule];
            let user = ["ann", "bob", "cy", "dee"][used.user];
            let key = (time, name(domain, in_domain), name(rule, for_rule), name(entry, user));
            *want.entry(key).or_default() += used.checks;
        }
        let entry_key = entry.then(|| "user".to_owned());
        let groups = Groups { bucket_minutes: bucket, domain, rule, entry_key, counter: false };
        let none = groups.is_empty();
        let filter = Filter { only_denied, ..Filter::default() };
        let (from, to) = (Some(at(from * 60)), Some(at(to * 60)));
        let query = Query { from, to, filter, groups, page_size, ..Query::default() };
        let rows = lab.all(&query);
        let got: Vec<_> = rows.iter().map(|row| {
            let time = row.time.map(|time| time.since(at(0)).as_ns() / 60_000_000_000);
            ((time, &*row.domain, &*row.rule, &*row.value), row.counts.get(Measure::Requests))
        }).collect();
        let mut want: Vec<_> = want.into_iter().collect();
        if none && want.is_empty() {
            want.push(((None, "", "", ""), 0));
        }
        prop_assert_eq!(got, want);
    }
}
