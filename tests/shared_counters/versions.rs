//! Replicas of several versions on one engine. Those with the same number in the prefix read each other's names and values, so these are written
//! down here: who changes them needs a new number.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::engines::{Engine, Kind};
use crate::replicas::{admitted, replica};
use crate::server::{TestServer, command, rules_in};

/// Each limit in the two ways of sharing: both use one name and one value.
fn rules(mode: &str) -> String {
    format!(
        "domain: api
sharing: {mode}
descriptors:
- {{key: window, rate_limit: {{unit: year, requests_per_unit: 1000}}}}
- {{key: first, rate_limit: {{unit: year, requests_per_unit: 1000, starts: first_request}}}}
- {{key: sliding, rate_limit: {{unit: year, requests_per_unit: 1000, algorithm: sliding_window}}}}
- {{key: bucket, rate_limit: {{unit: year, requests_per_unit: 1000, algorithm: token_bucket}}}}
- {{key: log, rate_limit: {{unit: year, requests_per_unit: 1000, algorithm: sliding_log}}}}
- {{key: ban, rate_limit: {{unit: year, requests_per_unit: 1000, ban: 30d}}}}
"
    )
}

/// The names of the counters of the value `x`.
const NAMES: [(&str, &str); 6] = [
    ("window", "tg1:{y-oQTixcoH6k-V9N}aX2cU4"),
    ("first", "tg1:{pe-4iznOkYN956bT}XBUv3s"),
    ("sliding", "tg1:{qdLGQquYurq_t8Q7}-1cqbT"),
    ("bucket", "tg1:{BI98bLO_HHv6_Wiz}mhNaE2"),
    ("log", "tg1:{bXS5pEE1yWkQUFKJ}VEjo_E"),
    ("ban", "tg1:{qkEeXkNIgPLee8yr}ZW9zAm"),
];

const YEAR_US: u64 = 31_536_000_000_000;

fn now_us() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

/// Writes the state of a counter with 997 hits of 1000, as the first version did.
fn write(engine: &Engine, mode: &str, key: &str, name: &str) {
    let (now, begin) = (now_us(), now_us() / YEAR_US * YEAR_US);
    let set = |name: &str, value: &str| engine.run::<()>(&["SET", name, value, "EX", "100000"]);
    match key {
        "window" => set(&format!("{name}:{}", begin / YEAR_US + 1), "997"),
        "first" => set(name, &format!("{} 997", now + YEAR_US / 2)),
        "sliding" => set(name, &format!("{begin} 0 997")),
        // What is lent of a bucket is behind its debt: nothing, in two periods.
        "bucket" if mode == "leased" => {
            set(name, &format!("{now} 997 0 {YEAR_US} {now} {} 0 0 0", YEAR_US / 2));
        }
        "bucket" => set(name, &format!("{now} 997 0 {YEAR_US}")),
        // A ban's end is in place of the count; until then it is a window with its end.
        "ban" => set(name, &format!("{} 997", begin + YEAR_US)),
        _ => {
            let times = vec![now.to_string(); 997];
            let push: Vec<&str> = ["RPUSH", name].into_iter().chain(times.iter().map(String::as_str)).collect();
            engine.run::<()>(&push);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_values_are_those_of_the_number_in_the_prefix() {
    for kind in Kind::installed() {
        for mode in ["exact", "leased"] {
            let engine = Engine::start(kind);
            let server = replica(&rules(mode), &engine.url(), &["--store-replicas", "1"]);
            let channel = server.channel().await;
            for (key, name) in NAMES {
                assert!(admitted(&channel, &[(key, "x")]).await, "{kind:?}, {mode}: {key}");
                let names: Vec<String> = engine.run(&["KEYS", "tg1:*"]);
                let found: Vec<_> = names.iter().filter(|name| !name.contains("{replicas}")).collect();
                let expected =
                    if key == "window" { format!("{name}:{}", now_us() / YEAR_US + 1) } else { name.to_owned() };
                assert_eq!(found, [&expected], "{kind:?}, {mode}: {key}");
                engine.run::<()>(&["DEL", &expected]);
            }
            // Another replica, which knows nothing yet, goes on where the first version was.
            let other = replica(&rules(mode), &engine.url(), &["--store-replicas", "1"]);
            let channel = other.channel().await;
            for (key, name) in NAMES {
                write(&engine, mode, key, name);
                let mut count = 0;
                for _ in 0..20 {
                    count += u32::from(admitted(&channel, &[(key, "x")]).await);
                }
                // A replica that was given less than it wanted of a lease pauses before it asks for the rest.
                let fewest = if mode == "leased" { 1 } else { 3 };
                assert!((fewest..=3).contains(&count), "{kind:?}, {mode}: {key}: {count}, and 997 of 1000 are counted");
                engine.run::<()>(&["DEL", name]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_begins_fresh_counters_and_leaves_the_others_alone() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let rules = "domain: api\ndescriptors: [{key: key, rate_limit: {unit: year, requests_per_unit: 40}}]\n";
    let servers = [replica(rules, &engine.url(), &[]), replica(rules, &engine.url(), &["--store-prefix", "tg2:"])];
    let channels = [servers[0].channel().await, servers[1].channel().await];
    let mut counts = [0; 2];
    for number in 0..120 {
        counts[number % 2] += u32::from(admitted(&channels[number % 2], &[("key", "x")]).await);
    }
    assert_eq!(counts, [40, 40]);
}

/// `TIDEGATE_OTHER_BIN` is a build of another version; without it both are this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_one_limit_for_replicas_of_two_versions() {
    let Some(kind) = Kind::any() else { return };
    for mode in ["exact", "leased"] {
        let engine = Engine::start(kind);
        let flags = ["--store", &engine.url(), "--store-timeout", "1s", "--store-replicas", "2"];
        let this = TestServer::start(&rules(mode), &flags);
        let dir = tempfile::tempdir().unwrap();
        let other = command(&rules_in(&dir, &rules(mode)), &flags);
        let binary = std::env::var_os("TIDEGATE_OTHER_BIN").unwrap_or_else(|| other.get_program().to_owned());
        let mut started = Command::new(binary);
        started.args(other.get_args()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let other = TestServer::spawn(dir, started);
        let mut channels = Vec::new();
        for server in [&this, &other] {
            server.log_until("the store answers");
            channels.push(server.channel().await);
        }
        for (key, _) in NAMES {
            let mut count = 0;
            for number in 0..1_600 {
                // Each has the traffic for a while.
                let is_admitted = admitted(&channels[number / 200 % 2], &[(key, "x")]).await;
                count += u32::from(is_admitted);
            }
            // What is lent of a bucket that is empty comes back later.
            let fewest = match (mode, key) {
                ("exact", _) => 1_000,
                (_, "bucket") => 200,
                _ => 950,
            };
            assert!((fewest..=1_000).contains(&count), "{kind:?}, {mode}: {key}: {count} of 1000");
        }
    }
}
