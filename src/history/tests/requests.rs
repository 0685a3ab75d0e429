//! Requests by the values of entry keys.

use super::*;
use crate::usage::{LastReading, Usage, WorkerSlot};

/// Two keys in two domains, values without a series, an empty value, and a rule with counters besides.
fn used() -> Vec<(Series, u64, u64)> {
    vec![
        (Series::for_request("d", "user", "ann"), 6, 3),
        (Series::for_request("d", "user", "bob"), 4, 4),
        (Series::for_request("d", "user", ""), 2, 0),
        (Series::for_other_requests("d", "user"), 5, 1),
        (Series::for_request("d", "tenant", "t"), 17, 8),
        (Series::for_request("e", "user", "ann"), 9, 0),
        (Series::for_rule("d", "d.a"), 30, 2),
        (counter("d.a", "ann"), 30, 2),
    ]
}

fn by_value(key: &str) -> Query {
    let groups = Groups { entry_key: Some(key.into()), ..Groups::default() };
    Query { requests_by: Some(key.into()), ..by(groups) }
}

/// Value, requests, denied.
type Reported = (&'static str, u64, u64);

#[track_caller]
fn check(lab: &Lab, query: &Query, want: &[Reported]) {
    let reported = |row: &Row| {
        let value = if row.other { "(other)".to_owned() } else { row.value.clone() };
        (value, row.counts.get(Measure::Requests), row.counts.get(Measure::RequestsDenied))
    };
    let want: Vec<_> = want.iter().map(|(value, checks, denied)| ((*value).to_owned(), *checks, *denied)).collect();
    for page_size in [1, 2, 1_000] {
        let rows = lab.all(&Query { page_size, ..query.clone() });
        assert_eq!(rows.iter().map(reported).collect::<Vec<_>>(), want, "{query:?}, {page_size} a page");
        assert!(rows.iter().all(|row| row.rule.is_empty()), "{rows:?}");
    }
}

#[test]
fn each_value_has_its_requests() {
    let mut lab = Lab::open(None, 1 << 30);
    lab.count(0, &used());
    let of = |domain: &str| Filter { domain: Some(domain.into()), ..Filter::default() };
    let bob = Filter { entries: vec![("user".into(), "bob".into())], ..Filter::default() };
    let denied = Filter { only_denied: true, ..Filter::default() };
    let all: &[Reported] = &[("", 2, 0), ("ann", 15, 3), ("bob", 4, 4), ("(other)", 5, 1)];
    check(&lab, &by_value("user"), all);
    check(&lab, &by_value("tenant"), &[("t", 17, 8)]);
    check(&lab, &by_value("path"), &[]);
    check(&lab, &Query { filter: of("e"), ..by_value("user") }, &[("ann", 9, 0)]);
    check(&lab, &Query { filter: denied, ..by_value("user") }, &[("ann", 6, 3), ("bob", 4, 4), ("(other)", 5, 1)]);
    check(&lab, &Query { filter: bob.clone(), ..by_value("user") }, &[("bob", 4, 4)]);

    let together = Query { groups: Groups::default(), ..by_value("user") };
    check(&lab, &together, &[("", 26, 8)]);
    check(&lab, &Query { filter: bob, ..together.clone() }, &[("", 4, 4)]);
    let by_domain = Query { groups: Groups { domain: true, ..Groups::default() }, ..together };
    check(&lab, &by_domain, &[("", 17, 8), ("", 9, 0)]);
}

#[test]
fn they_are_in_no_answer_about_rules_and_counters() {
    let mut lab = Lab::open(None, 1 << 30);
    lab.count(0, &used());
    let by_user = Groups { entry_key: Some("user".into()), ..Groups::default() };
    for groups in [Groups::default(), Groups { rule: true, ..Groups::default() }, by_user] {
        assert_eq!(checks(&lab.all(&by(groups.clone()))), 30, "{groups:?}");
    }
    let history = &lab.history;
    assert!(history.knows(Some("d"), Some("d.a")).unwrap() && !history.knows(Some("d"), Some("user")).unwrap());
    for (domain, key, want) in [(None, "user", true), (Some("e"), "tenant", false), (None, "d.a", false)] {
        assert_eq!(history.knows_entry_key(domain, key).unwrap(), want, "{domain:?} {key}");
    }
}

#[test]
fn time_buckets_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usage.sqlite");
    for hour in 0..3 {
        // Each process counts from 0.
        let mut lab = Lab::open(Some(&path), 1 << 30);
        lab.count(hour * 3_600, &[(Series::for_request("d", "user", "bob"), 4, hour)]);
    }
    let lab = Lab::open(Some(&path), 1 << 30);
    check(&lab, &by_value("user"), &[("bob", 12, 3)]);
    let hours = Groups { bucket_minutes: Some(60), ..by_value("user").groups };
    check(&lab, &Query { groups: hours, ..by_value("user") }, &[("bob", 4, 0), ("bob", 4, 1), ("bob", 4, 2)]);
}

#[test]
fn views_show_who_made_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::open(Some(&dir.path().join("usage.sqlite")), 1 << 30);
    lab.count(0, &used());
    let connection = lab.state.writer.as_ref().unwrap().connection.lock();
    for view in ["requests_by_minute", "requests_by_hour", "requests_by_day", "requests_by_entry"] {
        let sql = format!(
            "SELECT requests, denied FROM {view} WHERE key = 'user' AND domain = 'd' AND value IS ?1 AND other = ?2"
        );
        for (value, other, want) in [(Some("bob"), 0, (4, 4)), (Some(""), 0, (2, 0)), (None, 1, (5, 1))] {
            let got: (i64, i64) =
                connection.query_row(&sql, (value, other), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(got, want, "{view} {value:?}");
        }
    }
}

/// The counts of a server, through every reading: what has not changed is not written again, and is complete when it is read.
#[test]
fn series_that_do_not_change_are_not_written_again() {
    let usage = Arc::new(Usage::new(1, 9));
    let (counted, mut last) = (Arc::clone(&usage), LastReading::default());
    let read = move |take: &mut dyn FnMut(Reading)| readings(&counted, &mut last).for_each(take);
    let settings = Settings { path: None, flush: Duration::from_secs(5), max_bytes: 1 << 30 };
    let (history, mut state) = History::open(&settings, Box::new(read), at(0)).unwrap();
    let key = usage.for_entry_key("d", "user");
    let mut flush = |second, users: &[&str]| {
        for user in users {
            usage.count_by_entry(WorkerSlot(0), &key, user, 1, false);
        }
        state.flush(at(second));
        let connection = state.writer.as_ref().unwrap().connection.lock();
        connection.query_row("SELECT total_changes()", (), |row| row.get::<_, i64>(0)).unwrap()
    };
    let first = flush(1, &["ann", "bob", "cy"]);
    assert_eq!(flush(2, &[]), first, "nothing was used");
    let second = flush(3, &["bob"]);
    assert_eq!(second - first, 2, "a row, and the number of rows");
    assert_eq!(flush(70, &[]), second);
    assert_eq!(flush(80, &["bob", "dee"]) - second, 2 + 1 + 2, "two rows and their number, and a name with its entry");
    let page = history.query(&by_value("user"), at(99), &Arc::default()).unwrap();
    let counts: Vec<_> = page.rows.iter().map(|row| (&*row.value, row.counts.get(Measure::Requests))).collect();
    assert_eq!(counts, [("ann", 1), ("bob", 3), ("cy", 1), ("dee", 1)]);
}
