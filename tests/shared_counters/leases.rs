//! Servers that lease parts of limits from one engine: no limit admits more than it allows, and nearly all of it is admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::envoy::r#type::v3::RateLimitUnit;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::changes::Load;
use crate::engines::{Engine, Kind};
use crate::replicas::{admitted, ask, check, replica};
use crate::server::{TestServer, eventually, eventually_async, rules_in, run};

/// A limit of the key `key`.
fn rules(limit: &str) -> String {
    format!("domain: api\ndescriptors: [{{key: key, rate_limit: {{{limit}}}}}]\n")
}

/// Checks of one value on each server, by some clients each. Returns how many were admitted.
async fn flood(servers: &[&TestServer], clients: usize, checks: usize) -> u32 {
    let (count, mut tasks) = (Arc::new(AtomicU32::new(0)), JoinSet::new());
    for server in servers {
        for _ in 0..clients {
            let (channel, count) = (server.channel().await, Arc::clone(&count));
            tasks.spawn(async move {
                for _ in 0..checks {
                    count.fetch_add(u32::from(admitted(&channel, &[("key", "x")]).await), Ordering::Relaxed);
                }
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    count.load(Ordering::Relaxed)
}

async fn count(channel: &Channel, entries: &[(&str, &str)], checks: usize) -> u32 {
    let mut count = 0;
    for _ in 0..checks {
        count += u32::from(admitted(channel, entries).await);
    }
    count
}

/// The hits that the engine has granted of the only counter.
fn granted(engine: &Engine) -> u32 {
    let keys: Vec<String> = engine.run(&["KEYS", "tg1:*:*"]);
    keys.first().map_or(0, |key| engine.run(&["GET", key]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nearly_the_whole_limit_is_admitted_and_no_hit_more() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let config = rules("unit: year, requests_per_unit: 3000");
        let servers: Vec<_> = (0..3).map(|_| replica(&config, &engine.url(), &["--store-replicas", "3"])).collect();
        let servers: Vec<&TestServer> = servers.iter().collect();
        let count = flood(&servers, 4, 600).await;
        assert!((2_970..=3_000).contains(&count), "{kind:?}: {count} of 7200 checks");
        for server in servers {
            let asked = server.metric("tidegate_store_key_operations_total{mode=\"leased\"}");
            assert!(asked > 0 && asked < 1_200, "{kind:?}: {asked} requests for 2400 checks");
            assert_eq!(server.metric("tidegate_store_key_operations_total{mode=\"exact\"}"), 0);
            assert!(server.metric("tidegate_store_leased_hits_total") > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_admits_more_than_its_limit() {
    for kind in Kind::installed() {
        for algorithm in ["fixed_window", "fixed_window, starts: first_request"] {
            let engine = Engine::start(kind);
            let config = rules(&format!("period: 500ms, requests_per_unit: 60, algorithm: {algorithm}"));
            let servers: Vec<_> = (0..3).map(|_| replica(&config, &engine.url(), &[])).collect();
            let servers: Vec<&TestServer> = servers.iter().collect();
            let now = || -> u64 {
                let [seconds, micros]: [u64; 2] = engine.run::<Vec<u64>>(&["TIME"]).try_into().unwrap();
                seconds * 1_000 + micros / 1_000
            };
            let begun = now();
            let count = flood(&servers, 3, 300).await;
            let windows = now() / 500 - begun / 500 + 1;
            assert!(u64::from(count) <= windows * 60, "{kind:?}, {algorithm}: {count} in {windows} windows");
            assert!(count >= 60, "{kind:?}, {algorithm}: {count}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_loses_its_leases_and_gives_none() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = rules("unit: year, requests_per_unit: 1500");
    let mut servers: Vec<_> = (0..3).map(|_| replica(&config, &engine.url(), &["--store-replicas", "3"])).collect();
    let servers_before: Vec<&TestServer> = servers.iter().collect();
    let before = flood(&servers_before, 2, 100).await;
    servers[0].crash();
    let after = flood(&[&servers[1], &servers[2]], 4, 500).await;
    assert!(before <= 600 && before + after <= 1_500, "{before}, then {after}");
    // All but what the first one had in hand.
    assert!(before + after > 900, "{before}, then {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_and_lost_answers_admit_nothing_above_the_limit() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let limits = "domain: api
descriptors:
- {key: window, rate_limit: {unit: year, requests_per_unit: 900, sharing: {when_down: deny}}}
- {key: first, rate_limit: {unit: year, requests_per_unit: 900, starts: first_request, sharing: {when_down: deny}}}
- {key: sliding, rate_limit: {unit: year, requests_per_unit: 900, algorithm: sliding_window, sharing: {when_down: deny}}}
- {key: bucket, rate_limit: {unit: year, requests_per_unit: 900, algorithm: token_bucket, sharing: {when_down: deny}}}
";
        let replica = || TestServer::start(limits, &["--store", &engine.url(), "--store-timeout", "20ms"]);
        let servers: Vec<_> = (0..3).map(|_| replica()).collect();
        for server in &servers {
            server.log_until("the store answers");
        }
        let counts: Arc<[AtomicU32; 4]> = Arc::default();
        let mut tasks = JoinSet::new();
        for server in &servers {
            for _ in 0..2 {
                let (channel, counts) = (server.channel().await, Arc::clone(&counts));
                tasks.spawn(async move {
                    for _ in 0..400 {
                        for (key, count) in ["window", "first", "sliding", "bucket"].iter().zip(&*counts) {
                            let is_admitted = admitted(&channel, &[(key, "x")]).await;
                            count.fetch_add(u32::from(is_admitted), Ordering::Relaxed);
                        }
                    }
                });
            }
        }
        // The engine is silent for longer than a check waits, again and again: answers come late.
        let mut silences = 0;
        while !tasks.is_empty() {
            engine.pause();
            let _elapsed = tokio::time::timeout(Duration::from_millis(60), std::future::pending::<()>()).await;
            engine.resume();
            silences += 1;
            let ended = tokio::time::timeout(Duration::from_millis(150), async {
                while let Some(ended) = tasks.join_next().await {
                    ended.unwrap();
                }
            });
            let _still_running = ended.await;
        }
        let counts: Vec<u32> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert!(counts.iter().all(|count| *count <= 900), "{kind:?}: {counts:?}, {silences} silences");
        assert!(counts.iter().all(|count| *count > 100), "{kind:?}: {counts:?}, {silences} silences");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_ends_gives_its_leases_back() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let config = rules("unit: year, requests_per_unit: 1000");
        let flags = ["--store-replicas", "2", "--drain", "100ms"];
        let (mut first, second) = (replica(&config, &engine.url(), &flags), replica(&config, &engine.url(), &flags));
        let before = flood(&[&first], 2, 150).await;
        assert_eq!(before, 300, "{kind:?}");
        assert!(granted(&engine) > 300, "{kind:?}: it has hits in hand");
        first.signal("TERM");
        assert_eq!(tokio::task::block_in_place(|| first.wait()).code(), Some(0), "{kind:?}");
        assert_eq!(granted(&engine), 300, "{kind:?}: they are back");
        assert_eq!(flood(&[&second], 2, 450).await, 700, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lowered_limit_is_in_force_on_what_was_admitted() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = |limit: u32| rules(&format!("unit: year, requests_per_unit: {limit}, count_denied: false"));
    let flags = ["--store-replicas", "2"];
    let servers = [replica(&config(100_000), &engine.url(), &flags), replica(&config(100_000), &engine.url(), &flags)];
    let before = flood(&[&servers[0], &servers[1]], 2, 100).await;
    assert_eq!(before, 400);
    for server in &servers {
        rules_in(&server.dir, &config(500));
        let generation = || server.metric("tidegate_config_generation");
        let loaded = generation();
        server.signal("HUP");
        tokio::task::block_in_place(|| eventually("the reload", || generation() > loaded));
    }
    let load = Load::on(&servers).await;
    load.until_admitted(100);
    assert_eq!(load.end().await, 100, "500 with those before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_limit_is_in_force_at_once() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    for algorithm in ["fixed_window", "sliding_window", "token_bucket, burst: LIMIT"] {
        let config = |limit: &str| {
            rules(&format!("unit: year, requests_per_unit: LIMIT, algorithm: {algorithm}").replace("LIMIT", limit))
        };
        let server = replica(&config("200"), &engine.url(), &["--store-replicas", "1"]);
        let channel = server.channel().await;
        // All is used up, and nothing is asked for, for some time.
        count(&channel, &[("key", algorithm)], 1_000).await;
        rules_in(&server.dir, &config("400"));
        let generation = || server.metric("tidegate_config_generation");
        let loaded = generation();
        server.signal("HUP");
        tokio::task::block_in_place(|| eventually("the reload", || generation() > loaded));
        assert!(count(&channel, &[("key", algorithm)], 10).await > 0, "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_limits_ask_nobody() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = rules("unit: year, requests_per_unit: 5, sharing: local");
    for _ in 0..2 {
        let server = replica(&config, &engine.url(), &[]);
        assert_eq!(count(&server.channel().await, &[("key", "x")], 20).await, 5);
        assert_eq!(server.metric("tidegate_store_checks_waited_total"), 0);
    }
    let keys: Vec<String> = engine.run(&["KEYS", "tg1:*"]);
    assert!(keys.iter().all(|key| key.contains("{replicas}")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_ways_of_sharing_in_one_check_are_charged_together_or_not_at_all() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let config = "domain: api
charge: all_or_nothing
descriptors:
- {key: user, rate_limit: {unit: year, requests_per_unit: 40}}
- {key: tenant, rate_limit: {unit: year, requests_per_unit: 30, sharing: exact}}
- {key: node, rate_limit: {unit: year, requests_per_unit: 12, sharing: local}}
";
        let servers = [replica(config, &engine.url(), &[]), replica(config, &engine.url(), &[])];
        let channels = [servers[0].channel().await, servers[1].channel().await];
        let mut taken = 0;
        for number in 0..60 {
            let entries = [("user", "a"), ("tenant", "t"), ("node", "n")];
            taken += u32::from(admitted(&channels[number % 2], &entries).await);
        }
        assert_eq!(taken, 24, "{kind:?}: 12 of each node");
        for number in 0..60 {
            taken += u32::from(admitted(&channels[number % 2], &[("user", "a"), ("tenant", "t")]).await);
        }
        assert_eq!(taken, 30, "{kind:?}: of the tenant");
        // What the denied checks took from the user is back.
        let mut number = 0;
        eventually_async("the rest of the user", async || {
            number += 1;
            taken += u32::from(admitted(&channels[number % 2], &[("user", "a"), ("tenant", "u")]).await);
            taken == 40
        })
        .await;
        for channel in &channels {
            assert_eq!(count(channel, &[("user", "a"), ("tenant", "u")], 10).await, 0, "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_several_counters_are_spent_together() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = "domain: api
charge: all_or_nothing
descriptors:
- {key: user, rate_limit: {unit: year, requests_per_unit: 400}}
- {key: tenant, rate_limit: {unit: year, requests_per_unit: 900}}
";
    let servers = [replica(config, &engine.url(), &[]), replica(config, &engine.url(), &[])];
    let mut tasks = JoinSet::new();
    for server in &servers {
        for user in ["a", "b", "c"] {
            let channel = server.channel().await;
            tasks.spawn(async move { count(&channel, &[("user", user), ("tenant", "t")], 350).await });
        }
    }
    let mut all = 0;
    while let Some(taken) = tasks.join_next().await {
        all += taken.unwrap();
    }
    assert!(all <= 900, "{all} of 2100 checks");
    assert!(all > 800, "{all} of 2100 checks");
}

/// What decides while the store is down, by rule.
const POLICIES: &str = "domain: api
descriptors:
- {key: local, rate_limit: {unit: year, requests_per_unit: 10, sharing: {when_down: local}}}
- {key: deny, rate_limit: {unit: year, requests_per_unit: 10, sharing: {when_down: deny}}}
- {key: allow, rate_limit: {unit: year, requests_per_unit: 10, sharing: {when_down: allow}}}
- {key: exact, rate_limit: {unit: year, requests_per_unit: 10, sharing: {mode: exact, when_down: allow}}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_is_answered_for_as_each_rule_says() {
    for kind in Kind::installed() {
        let mut engine = Engine::start(kind);
        let server = replica(POLICIES, &engine.url(), &["--store-replicas", "2", "--store-when-down", "deny"]);
        let channel = server.channel().await;
        for key in ["local", "deny", "allow", "exact"] {
            assert!(admitted(&channel, &[(key, "x")]).await, "{kind:?}: {key}");
        }
        engine.kill();
        eventually("the store is down", || server.http("GET", "/readyz", b"").1.contains("store: down"));
        for (key, value, expected) in [
            ("local", "x", 4),
            ("local", "new", 5),
            ("deny", "x", 0),
            ("deny", "new", 0),
            ("allow", "x", 20),
            ("exact", "x", 20),
        ] {
            assert_eq!(count(&channel, &[(key, value)], 20).await, expected, "{kind:?}: {key} {value}");
        }
        let answer = ask(&channel, &[("deny", "x")]).await;
        assert_eq!(answer.overall_code(), Code::OverLimit);
        assert_eq!(answer.statuses[0].duration_until_reset.unwrap().seconds, 1, "{kind:?}");
        for answer in ["local", "deny", "allow"] {
            let series = format!("tidegate_store_checks_down_total{{domain=\"api\",answer=\"{answer}\"}}");
            assert!(server.metric(&series) >= 20, "{kind:?}: {answer}");
        }
        engine.restart_empty();
        eventually("the store is up", || server.http("GET", "/readyz", b"").1.contains("store: up"));
        // What was spent meanwhile is charged: of the new counter half is left.
        let mut taken = 0;
        eventually_async("what was spent is charged", async || {
            let keys: Vec<String> = engine.run(&["KEYS", "tg1:*:*"]);
            let values: Vec<u32> = keys.iter().map(|key| engine.run(&["GET", key])).collect();
            values.contains(&5) && values.contains(&20)
        })
        .await;
        for _ in 0..20 {
            taken += u32::from(admitted(&channel, &[("local", "new")]).await);
        }
        assert_eq!(taken, 5, "{kind:?}");
        assert!(!admitted(&channel, &[("allow", "x")]).await, "{kind:?}: twenty of ten are charged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_engine_keeps_nobody_waiting_who_has_a_lease() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = rules("unit: year, requests_per_unit: 100000, sharing: {when_down: deny}");
    let server = replica(&config, &engine.url(), &["--store-replicas", "1"]);
    assert_eq!(flood(&[&server], 4, 250).await, 1_000);
    let held = u64::from(granted(&engine)) - 1_000;
    assert!(held > 100, "{held} hits in hand");
    engine.pause();
    let waited = || server.metric("tidegate_store_checks_waited_total");
    let before = waited();
    assert_eq!(count(&server.channel().await, &[("key", "x")], 50).await, 50);
    assert_eq!(waited(), before, "what is leased is spent");
    engine.resume();
    let channel = server.channel().await;
    // A late answer is kept, and the rest can be spent.
    eventually_async("the store is back", async || admitted(&channel, &[("key", "x")]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_how_limits_are_shared() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let config = format!("{POLICIES}- {{key: ban, rate_limit: {{unit: minute, requests_per_unit: 9, ban: 1h}}}}\n");
    let server = replica(&config, &engine.url(), &[]);
    let log = server.log_until("limits on the store");
    assert!(log.iter().any(|line| line.contains("leased=3") && line.contains("exact=2")), "{log:?}");
    let why = "hits that are lent would begin a ban too early";
    assert!(log.iter().any(|line| line.contains("api.ban") && line.contains(why)), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("api.exact")), "what the rules say needs no reason: {log:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_ban_and_reset_leased_counters() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let server = replica(&rules("unit: year, requests_per_unit: 50"), &engine.url(), &[]);
    let channel = server.channel().await;
    assert_eq!(count(&channel, &[("key", "x")], 20).await, 20);
    let address = format!("http://{}", server.admin_addr());
    let counters = |command: &[&str]| {
        let command = [&["counters"], command, &["--admin-addr", &address]].concat();
        let (code, out, errors) = tokio::task::block_in_place(|| run(&command, ""));
        assert_eq!(code, Some(0), "{command:?}: {out} {errors}");
        out
    };
    let listed = counters(&["list"]);
    let words: Vec<&str> = listed.split_whitespace().collect();
    assert!(words.windows(4).any(|words| words == ["key=x", "20", "50", "per"]), "{listed}");
    let other = replica(&rules("unit: year, requests_per_unit: 50"), &engine.url(), &[]);
    let here = count(&other.channel().await, &[("key", "x")], 3).await;
    let listed = counters(&["list", "--shared"]);
    let used: Vec<u32> = listed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!((20 + here..=50).contains(&used[0]), "those of both, and what is leased: {listed}");
    let named = ["--rule", "api.key", "--entry", "key=x", "--reason", "a test"];
    counters(&[&["ban"], &named[..], &["--for", "1h"]].concat());
    assert_eq!(count(&channel, &[("key", "x")], 5).await, 0);
    assert!(admitted(&channel, &[("key", "y")]).await);
    counters(&[&["unban"], &named[..]].concat());
    let mut left = 30 - here;
    let channels = [&channel, &other.channel().await];
    eventually_async("what was left", async || {
        for channel in channels {
            left = left.saturating_sub(u32::from(admitted(channel, &[("key", "x")]).await));
        }
        left == 0
    })
    .await;
    assert_eq!(count(&channel, &[("key", "x")], 10).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_overrides_and_refunds_are_leased() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let servers = [
        replica(&rules("unit: year, requests_per_unit: 50"), &engine.url(), &[]),
        replica(&rules("unit: year, requests_per_unit: 50"), &engine.url(), &[]),
    ];
    let channels = [servers[0].channel().await, servers[1].channel().await];
    let of = async |channel: &Channel, limit: u32, refund: bool| {
        let mut request = check(&[("key", "x")]);
        let descriptor = &mut request.descriptors[0];
        descriptor.limit = Some(RateLimitOverride {
            requests_per_unit: limit,
            unit: RateLimitUnit::Year.into(),
            ..Default::default()
        });
        descriptor.is_negative_hits = refund;
        let answer = RateLimitServiceClient::new(channel.clone()).should_rate_limit(request).await.unwrap();
        answer.into_inner().overall_code() == Code::Ok
    };
    let mut count = 0;
    for number in 0..40 {
        count += u32::from(of(&channels[number % 2], 10, false).await);
    }
    assert_eq!(count, 10, "whichever replica is asked");
    // Checks with another limit share the count, and no hits.
    count = 0;
    for number in 0..40 {
        count += u32::from(of(&channels[number % 2], 25, false).await);
    }
    assert!(count <= 15 && count > 0, "{count}: 25 less those of the other limit");
    assert!(!of(&channels[0], 10, false).await && !of(&channels[1], 10, false).await);
    assert!(of(&channels[0], 25, true).await, "a refund is admitted");
}
