//! Lines, and what receivers on this machine get of them.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};

use super::super::{CounterValues, RuleSeries, Times};
use super::*;
use crate::usage::{Measure, Totals};

/// A moment with so many hits over the limit of each of these rules.
fn snapshot(hits: &[(&str, u64)]) -> Snapshot {
    let series = |(rule, hits): &(&str, u64)| RuleSeries {
        domain: "d:x".into(),
        rule: (*rule).into(),
        totals: Totals::default().with(Measure::HitsOverLimit, *hits),
        ..RuleSeries::default()
    };
    Snapshot { rules: hits.iter().map(series).collect(), ..Snapshot::default() }
}

fn formatter(format: StatsdFormat, tags: &[(&str, &str)], renames: Vec<StatsdRename>) -> Formatter {
    let tags: Vec<_> = tags.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect();
    Formatter::new(format, &tags, renames)
}

/// The lines of the reference's counters and timers, and what has been sent after them.
fn flush(formatter: &Formatter, snapshot: &Snapshot, sent: &mut Sent) -> Vec<String> {
    let (lines, _) = formatter.lines(snapshot, sent);
    sent.extend(lines.iter().filter_map(|line| line.counter.clone()));
    let lines = lines.into_iter().map(|line| line.text.strip_suffix('\n').unwrap().to_owned());
    lines.filter(|line| line.contains("rate_limit.") || line.contains("|ms")).collect()
}

#[test]
fn counters_are_sent_as_what_was_added_and_not_at_all_without_it() {
    let (formatter, mut sent) = (formatter(StatsdFormat::Plain, &[], Vec::new()), Sent::new());
    let mut check = |hits: u64, expected: &[&str]| {
        assert_eq!(flush(&formatter, &snapshot(&[("d:x.ip_10.0.0.1.p\n:q", hits)]), &mut sent), expected);
    };
    check(0, &[]);
    check(2, &["ratelimit.service.rate_limit.d_x.ip_10_0_0_1.p__q.over_limit:2|c"]);
    check(2, &[]);
    check(7, &["ratelimit.service.rate_limit.d_x.ip_10_0_0_1.p__q.over_limit:5|c"]);
}

#[test]
fn tags_are_spelled_as_there_in_both_formats() {
    let tags = [("version", "1.2:3"), ("az", "a"), ("", "x"), ("empty", "")];
    let found = |format, renames| {
        flush(&formatter(format, &tags, renames), &snapshot(&[("d:x.k_v", 2)]), &mut Sent::new()).join(" ")
    };
    let name = "ratelimit.service.rate_limit.d_x.k_v.over_limit";
    assert_eq!(found(StatsdFormat::Plain, Vec::new()), format!("{name}.__az=a.__version=1_2_3:2|c"));
    assert_eq!(found(StatsdFormat::Dogstatsd, Vec::new()), format!("{name}:2|c|#az:a,version:1_2_3"));
    let hits = r"^ratelimit\.service\.rate_limit\.([^.]+)\.(.*)\.([^.]+)$";
    let tags = [("domain".to_owned(), "$1".to_owned()), ("descriptor".to_owned(), "$2".to_owned())];
    let rename = StatsdRename::new(hits, "ratelimit.service.rate_limit.$3".to_owned(), tags.to_vec()).unwrap();
    assert_eq!(
        found(StatsdFormat::Dogstatsd, vec![rename]),
        "ratelimit.service.rate_limit.over_limit:2|c|#az:a,version:1_2_3,domain:d_x,descriptor:k_v"
    );
}

#[test]
fn renamed_counters_that_differ_only_in_tags_are_apart() {
    let rename = || {
        StatsdRename::new(r"^.*\.d_x\.(.*)\.over_limit$", "o".to_owned(), vec![("rule".to_owned(), "$1".to_owned())])
    };
    let formatter = formatter(StatsdFormat::Dogstatsd, &[], vec![rename().unwrap()]);
    let (mut sent, only) = (Sent::new(), |lines: Vec<Line>| {
        let lines = lines.into_iter().filter(|line| line.text.starts_with("o:"));
        lines.map(|line| line.text.trim_end().to_owned()).collect::<Vec<_>>()
    });
    for (a, b, expected) in [(1, 2, &["o:1|c|#rule:a", "o:2|c|#rule:b"][..]), (1, 5, &["o:3|c|#rule:b"])] {
        let (lines, _) = formatter.lines(&snapshot(&[("d:x.a", a), ("d:x.b", b)]), &sent);
        sent.extend(lines.iter().filter_map(|line| line.counter.clone()));
        assert_eq!(only(lines), expected);
    }
}

#[test]
fn durations_are_timers_with_the_bound_of_their_bucket() {
    let times = |counts: [u64; 3]| Times {
        at_most: vec![(Nanos::from_ns(50_000), counts[0]), (Nanos::from_ns(2_000_000), counts[1])],
        count: counts[2],
        sum: Nanos::ZERO,
    };
    let (formatter, mut sent) = (formatter(StatsdFormat::Plain, &[], Vec::new()), Sent::new());
    let mut check = |counts, expected: &[&str]| {
        let snapshot = Snapshot { decisions: times(counts), ..Snapshot::default() };
        let expected: Vec<_> =
            expected.iter().map(|line| format!("ratelimit_server.ShouldRateLimit.response_time:{line}")).collect();
        assert_eq!(flush(&formatter, &snapshot, &mut sent), expected);
    };
    check([1, 1, 1], &["0.05|ms"]);
    check([5, 7, 8], &["0.05|ms|@0.25", "2|ms|@0.5", "2|ms"]);
    check([5, 7, 8], &[]);
}

#[test]
fn a_receiver_that_rounds_the_inverse_of_a_rate_down_gets_the_number() {
    for count in 1..10_000_u32 {
        let rate = format::rate(u64::from(count)).to_string().parse::<f64>().unwrap();
        assert!((0.0..1e-6).contains(&(rate.recip() - f64::from(count))), "{count}: {rate}");
    }
}

#[test]
fn metrics_with_labels_are_sent_where_labels_are_tags() {
    let counters = CounterValues { live: 3, denied: 4, ..CounterValues::default() };
    let lifted = vec![("d|y".to_owned(), "disabled", 2)];
    let snapshot = Snapshot { counters, lifted, ..Snapshot::default() };
    for (format, is_dog) in [(StatsdFormat::Plain, false), (StatsdFormat::Dogstatsd, true)] {
        let (lines, left_out) = formatter(format, &[], Vec::new()).lines(&snapshot, &Sent::new());
        let has = |text: &str| lines.iter().any(|line| line.text.trim_end() == text);
        assert!(has("tidegate_counters:3|g") && has("tidegate_new_keys_denied_total:4|c"), "{lines:?}");
        assert_eq!(has("tidegate_lifted_rules:2|g|#domain:d_y,reason:disabled"), is_dog, "{lines:?}");
        assert!(is_dog || !lines.iter().any(|line| line.text.contains("lifted")), "{lines:?}");
        assert_eq!(left_out, 0);
    }
}

#[test]
fn at_the_bound_known_counters_are_sent_on_and_others_left_out() {
    let formatter = formatter(StatsdFormat::Plain, &[], Vec::new());
    let mut sent: Sent = (0..MAX_COUNTERS - 1).map(|n| (n.to_string(), 1)).collect();
    let moment = snapshot(&[("d:x.a", 1), ("d:x.b", 1)]);
    assert_eq!(formatter.lines(&moment, &sent).1, 1);
    assert_eq!(flush(&formatter, &moment, &mut sent).len(), 1);
    let later = snapshot(&[("d:x.a", 3), ("d:x.b", 3)]);
    assert_eq!(flush(&formatter, &later, &mut sent), ["ratelimit.service.rate_limit.d_x.a.over_limit:2|c"]);
}

fn pusher(url: &str) -> Pusher {
    let target = StatsdTarget {
        url: url.parse().unwrap(),
        format: StatsdFormat::Plain,
        interval: Duration::from_secs(10),
        tags: Vec::new(),
        renames: Vec::new(),
    };
    Pusher::new(target, Arc::default())
}

/// The sums of the counters in lines, by name.
fn sums(text: &str) -> HashMap<String, u64> {
    let mut sums = HashMap::new();
    for line in text.lines() {
        let (name, rest) = line.split_once(':').unwrap();
        let (value, kind) = rest.split_once('|').unwrap();
        if kind == "c" {
            *sums.entry(name.to_owned()).or_default() += value.parse::<u64>().unwrap();
        }
    }
    sums
}

#[test]
fn over_tcp_what_was_counted_while_nobody_received_is_sent_later_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut pusher = pusher(&format!("tcp://{address}"));
    let rules: Vec<_> = (0..2_000).map(|n| format!("d:x.a_rule_with_some_length_{n}")).collect();
    let moment = |hits| snapshot(&rules.iter().map(|rule| (&**rule, hits)).collect::<Vec<_>>());
    pusher.flush(&moment(1));
    let StatsdValues { flushes, failures } = pusher.status.values();
    assert_eq!((flushes, failures), (0, 1));

    let mut received = String::new();
    for (round, hits) in [(0, 3), (1, 10)] {
        let listener = TcpListener::bind(address).unwrap();
        pusher.flush(&moment(hits));
        let (mut stream, _) = listener.accept().unwrap();
        // The other end is gone afterwards: that is noticed, and a new connection made.
        if round == 0 {
            let all = pusher.sent.len();
            let mut lines = io::BufReader::new(&stream);
            for _ in 0..all {
                io::BufRead::read_line(&mut lines, &mut received).unwrap();
            }
        } else {
            pusher.transport = Transport::new(&pusher.url);
            stream.read_to_string(&mut received).unwrap();
        }
    }
    let sums = sums(&received);
    for rule in &rules {
        let name = format!("ratelimit.service.rate_limit.d_x.{}.over_limit", rule.strip_prefix("d:x.").unwrap());
        assert_eq!(sums[&name], 10, "{name}");
    }
    assert_eq!(pusher.status.values().flushes, 2);
}

#[test]
fn a_peer_that_does_not_read_ends_a_flush_and_no_count_is_sent_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pusher = pusher(&format!("tcp://{}", listener.local_addr().unwrap()));
    // More than the buffers of both sockets have room for.
    let long = "x".repeat(4_000);
    let rules: Vec<_> = (0..4_000).map(|n| format!("d:x.{n}_{long}")).collect();
    let moment = snapshot(&rules.iter().map(|rule| (&**rule, 1)).collect::<Vec<_>>());
    pusher.flush(&moment);
    let (stuck, _) = listener.accept().unwrap();
    let sent = pusher.sent.len();
    assert!(pusher.status.values().failures == 1 && (1..rules.len()).contains(&sent), "{sent}");
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    pusher.flush(&moment);
    pusher.transport = Transport::new(&pusher.url);
    drop(stuck);
    assert_eq!(reader.join().unwrap().lines().filter(|line| line.ends_with(":1|c")).count(), rules.len() - sent);
}

#[test]
fn datagrams_are_short_and_have_whole_lines() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut pusher = pusher(&format!("udp://{}", socket.local_addr().unwrap()));
    let rules: Vec<_> = (0..100).map(|n| format!("d:x.rule_{n}")).collect();
    let moment = snapshot(&rules.iter().map(|rule| (&**rule, 2)).collect::<Vec<_>>());
    pusher.flush(&moment);
    let (mut received, mut datagram) = (String::new(), vec![0; 65_536]);
    while sums(&received).len() < rules.len() {
        let bytes = socket.recv(&mut datagram).unwrap();
        let text = std::str::from_utf8(&datagram[..bytes]).unwrap();
        assert!(bytes <= 1_432 && text.ends_with('\n'), "{bytes} bytes: {text}");
        received.push_str(text);
    }
    assert!(sums(&received).values().all(|sum| *sum == 2), "{received}");
}

#[test]
fn a_datagram_that_nobody_received_is_noticed() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut pusher = pusher(&format!("udp://{}", socket.local_addr().unwrap()));
    drop(socket);
    // The system reports on the next datagram that there is nobody.
    for hits in 1..=3 {
        pusher.flush(&snapshot(&[("d:x.a", hits)]));
    }
    assert!(pusher.status.values().failures > 0, "{:?}", pusher.status);
    assert!(pusher.log.failing.is_some() || pusher.status.values().flushes > 0);
}
