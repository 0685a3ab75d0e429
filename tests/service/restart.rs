//! Counters and bans go on after an orderly stop, with `--data-dir`.

#![allow(clippy::disallowed_methods, reason = "the server is another process, which lives in real time")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::TestServer;
use crate::server::{eventually, http, run};
use crate::small_disk::SmallDisk;

const CONFIG: &str = "domain: api
descriptors:
- {key: fixed, rate_limit: {unit: day, requests_per_unit: 3}}
- {key: log, rate_limit: {unit: day, requests_per_unit: 3, algorithm: sliding_log}}
- {key: bucket, rate_limit: {unit: day, requests_per_unit: 3, algorithm: token_bucket}}
- {key: banned, rate_limit: {unit: second, requests_per_unit: 100}}
";

const STOP: Duration = Duration::from_mins(1);

/// Whether a check of that key is admitted.
fn admits(server: &TestServer, key: &str) -> bool {
    let check = json!({"domain": "api", "descriptors": [{"entries": [{"key": key, "value": "v"}]}]});
    match server.http("POST", "/json", check.to_string().as_bytes()).0 {
        200 => true,
        429 => false,
        other => panic!("{other}"),
    }
}

fn stop(server: &mut TestServer) {
    server.signal("TERM");
    assert!(server.ended(STOP).success());
}

#[test]
fn an_orderly_stop_keeps_counters_and_bans() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_string_lossy().into_owned();
    let mut server = TestServer::start(CONFIG, &["--data-dir", &path, "--drain", "0s"]);
    for key in ["fixed", "log", "bucket"] {
        assert_eq!([(); 2].map(|()| admits(&server, key)), [true; 2], "{key}");
    }
    let address = format!("http://{}", server.admin);
    let ban =
        ["counters", "ban", "--rule", "api.banned", "--entry", "banned=v", "--for", "1h", "--admin-addr", &address];
    assert_eq!(run(&ban, "").0, Some(0));
    stop(&mut server);
    server.restart();
    for key in ["fixed", "log", "bucket"] {
        assert_eq!([(); 2].map(|()| admits(&server, key)), [true, false], "{key}: one of three was left");
    }
    assert!(!admits(&server, "banned"));

    stop(&mut server);
    for file in fs::read_dir(data.path()).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|kind| kind == "snapshot") {
            fs::write(file, "damaged").unwrap();
        }
    }
    server.restart();
    assert!(admits(&server, "fixed"), "the service starts without what it cannot read");
    assert_eq!(server.metric("tidegate_state_damaged_files"), 1);
    assert!(
        http(&server.admin, "GET", "/readyz", b"").1.contains("counters: those of the last run are not complete: ")
    );
}

/// A crash at any instant loses at most what was counted since the last flush: no limit admits more than its number and that, and no ban
/// ends early. `CRASHES=500 cargo test --test service crash` makes 500 cycles.
#[test]
fn a_crash_loses_at_most_the_flush_interval() {
    let cycles: u32 = std::env::var("CRASHES").map_or(4, |cycles| cycles.parse().unwrap());
    let seed: u64 = std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("TEST_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_string_lossy().into_owned();
    let flags = ["--data-dir", &path, "--state-flush", "200ms", "--shutdown-deadline", "20s"];
    let mut server = TestServer::start(CRASHING, &flags);
    let address = format!("http://{}", server.admin);
    let ban =
        ["counters", "ban", "--rule", "api.user", "--entry", "user=banned", "--for", "300d", "--admin-addr", &address];
    assert_eq!(run(&ban, "").0, Some(0));
    let mut drivers: Vec<Driver> = KEYS.iter().map(|key| Driver::new(key, 0)).collect();
    let mut finished = Vec::new();
    // What a crash may lose: the interval, and as much for a machine that is busy.
    let at_risk = Duration::from_millis(400);
    let mut oldest = Duration::ZERO;
    thread::sleep(at_risk);
    for cycle in 0..cycles {
        if cycle > 0 && cycle.is_multiple_of(CYCLES_OF_A_COUNTER) {
            // Other counters, before these are full: then nothing could be lost any more.
            finished.extend(drivers);
            drivers = KEYS.iter().map(|key| Driver::new(key, cycle)).collect();
        }
        let load = Duration::from_millis(random.random_range(50..600));
        thread::scope(|scope| {
            for driver in &mut drivers {
                let address = server.http_addr();
                scope.spawn(move || driver.run(address, load));
            }
            thread::sleep(load.mul_f64(random.random_range(0.5..1.0)));
            server.crash();
        });
        server.restart();
        assert_eq!(
            http(&server.http, "POST", "/json", check("user", "banned").as_bytes()).0,
            429,
            "cycle {cycle}: the ban"
        );
        for driver in &mut drivers {
            let used = u64::from(MAX) - remaining(&server, driver);
            oldest = oldest.max(driver.crashed(at_risk, used));
            let (lost, admitted) = (driver.lost, driver.admitted.len() as u64);
            assert!(used < u64::from(MAX) / 2, "cycle {cycle}: {} is nearly full", driver.key);
            assert!(used <= admitted + driver.unanswered, "cycle {cycle}: {} counts {used} of {admitted}", driver.key);
            assert!(
                used + lost >= admitted,
                "cycle {cycle}: {} has {used} of {admitted}, at most {lost} may be lost",
                driver.key
            );
            assert!(admitted <= u64::from(MAX) + lost, "cycle {cycle}: {}", driver.key);
        }
    }
    finished.extend(drivers);
    let sum = |count: fn(&Driver) -> u64| finished.iter().map(count).sum::<u64>();
    let (admitted, missing) = (sum(|driver| driver.admitted.len() as u64), sum(|driver| driver.missing));
    eprintln!("{cycles} cycles, {admitted} hits admitted, {missing} lost, the oldest {oldest:?} before its crash");
    stop(&mut server);
    server.restart();
    assert_eq!(http(&server.http, "POST", "/json", check("user", "banned").as_bytes()).0, 429, "after an orderly stop");
}

/// More than twice of what the cycles of one counter admit, so that each hit shows.
const MAX: u32 = 60_000;
/// Cycles with the same counters.
const CYCLES_OF_A_COUNTER: u32 = 8;
const CRASHING: &str = "domain: api
descriptors:
- {key: fixed, rate_limit: {unit: year, requests_per_unit: 60000}}
- {key: sliding, rate_limit: {unit: year, requests_per_unit: 60000, algorithm: sliding_window}}
- {key: log, rate_limit: {unit: year, requests_per_unit: 60000, algorithm: sliding_log}}
- {key: user, rate_limit: {unit: year, requests_per_unit: 60000}}
";
const KEYS: [&str; 3] = ["fixed", "sliding", "log"];

/// A client that spends one counter, and remembers when each hit was admitted.
struct Driver {
    key: &'static str,
    value: String,
    admitted: Vec<Instant>,
    /// Hits that may have been admitted without an answer.
    unanswered: u64,
    /// Admitted hits that crashes may have lost.
    lost: u64,
    /// Admitted hits that were lost.
    missing: u64,
    /// Those before this one have been accounted for.
    settled: usize,
}

impl Driver {
    fn new(key: &'static str, cycle: u32) -> Self {
        Self {
            key,
            value: format!("from-{cycle}"),
            admitted: Vec::new(),
            unanswered: 0,
            lost: 0,
            missing: 0,
            settled: 0,
        }
    }

    /// Checks on one connection until it breaks.
    fn run(&mut self, address: SocketAddr, load: Duration) {
        let body = check(self.key, &self.value);
        let request = format!("POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        stream.set_read_timeout(Some(STOP)).unwrap();
        let end = Instant::now() + load;
        let mut answer = [0; 2_048];
        while Instant::now() < end {
            let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut answer));
            match asked {
                Ok(count) if answer[..count].starts_with(b"HTTP/1.1 200") => self.admitted.push(Instant::now()),
                Ok(count) if answer[..count].starts_with(b"HTTP/1.1 429") => {}
                _ => {
                    self.unanswered += 1;
                    return;
                }
            }
        }
    }

    /// What was admitted within the time at risk before the crash may be lost. Returns how long before it the oldest hit was admitted
    /// that is lost, of a counter that has `used` hits now.
    fn crashed(&mut self, at_risk: Duration, used: u64) -> Duration {
        let new = &self.admitted[self.settled..];
        self.settled = self.admitted.len();
        let Some(last) = new.last() else { return Duration::ZERO };
        let age = |at: &Instant| last.duration_since(*at);
        self.lost += new.iter().filter(|at| age(at) < at_risk).count() as u64;
        let missing = (self.admitted.len() as u64).saturating_sub(used + self.missing);
        self.missing += missing;
        let oldest = usize::try_from(missing).ok().and_then(|missing| new.get(new.len() - missing.min(new.len())));
        oldest.filter(|_| missing > 0).map_or(Duration::ZERO, age)
    }
}

fn check(key: &str, value: &str) -> String {
    json!({"domain": "api", "descriptors": [{"entries": [{"key": key, "value": value}]}]}).to_string()
}

/// What is left of the counter, which a look without hits shows.
fn remaining(server: &TestServer, driver: &Driver) -> u64 {
    let look = json!({
        "domain": "api",
        "descriptors": [{"entries": [{"key": driver.key, "value": driver.value}], "hitsAddend": "0"}],
    });
    let (_, answer) = server.http("POST", "/json", look.to_string().as_bytes());
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
    answer["statuses"][0]["limitRemaining"].as_u64().unwrap_or(0)
}

/// A disk that is full does not disturb decisions; when there is room again, all counters are written, also those of meanwhile.
#[test]
fn a_full_disk_is_caught_up_with() {
    let Some(disk) = SmallDisk::mount(2 << 10, "a_full_disk_is_caught_up_with") else { return };
    let flags = ["--data-dir", disk.path().to_str().unwrap(), "--state-flush", "100ms"];
    let mut server = TestServer::start(CONFIG, &flags);
    let filler = disk.fill(4 << 10);
    assert_eq!([(); 2].map(|()| admits(&server, "fixed")), [true; 2]);
    // More than what is left of the last page.
    for n in 0..200 {
        server.http("POST", "/json", check("fixed", &format!("{n:050}")).as_bytes());
    }
    let ready = |text: &str| http(&server.admin, "GET", "/readyz", b"").1.contains(text);
    eventually("the failure shows", || ready("counters: not written"));
    assert_eq!(server.metric("tidegate_state_failing"), 1);
    assert!(admits(&server, "log"), "decisions go on");
    fs::remove_file(&filler).unwrap();
    eventually("they are written again", || ready("counters: on disk"));
    assert_eq!(server.metric("tidegate_state_failing"), 0);
    assert_eq!(server.log().iter().filter(|line| line.contains("counters cannot be written")).count(), 1, "one line");
    server.crash();
    server.restart();
    assert_eq!([(); 2].map(|()| admits(&server, "fixed")), [true, false], "one of three was left");
    drop(server);
}

/// Files that another program removes are written again; without the directory decisions go on, and the end says what is lost.
#[test]
fn removed_files_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let flags = ["--data-dir", data.to_str().unwrap(), "--state-flush", "100ms", "--drain", "0s"];
    let mut server = TestServer::start(CONFIG, &flags);
    assert_eq!([(); 2].map(|()| admits(&server, "fixed")), [true; 2]);
    let named = |kind: &str| -> Vec<_> {
        let files = fs::read_dir(&data).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|found| found == kind)).collect()
    };
    eventually("a flush", || named("journal").iter().any(|file| fs::metadata(file).unwrap().len() > 24));
    for file in named("journal") {
        fs::remove_file(file).unwrap();
    }
    eventually("all is written again", || !named("snapshot").is_empty());
    assert_eq!(server.log().iter().filter(|line| line.contains("another program has removed")).count(), 1, "one line");
    server.crash();
    server.restart();
    assert_eq!([(); 2].map(|()| admits(&server, "fixed")), [true, false], "one of three was left");

    fs::remove_dir_all(&data).unwrap();
    eventually("the failure shows", || server.metric("tidegate_state_failing") == 1);
    assert!(admits(&server, "log"), "decisions go on");
    stop(&mut server);
    let log = server.log_until("not all counters are kept");
    assert!(
        log.iter().any(|line| line.contains("not all counters") && line.contains(data.to_str().unwrap())),
        "{log:?}"
    );
}
