//! An engine that answers, but not what was asked for: each state is answered by `--store-when-down`, and when it is over the limit goes on
//! where it was.

use tonic::transport::Channel;

use crate::engines::{Engine, Kind};
use crate::replicas::admitted;
use crate::server::{TestServer, eventually, eventually_async};

const RULES: &str = "domain: api
descriptors:
- {key: leased, rate_limit: {unit: year, requests_per_unit: 1000, count_denied: false}}
- {key: exact, rate_limit: {unit: year, requests_per_unit: 1000, algorithm: sliding_window, sharing: exact}}
";

/// Brings an engine into a state, and out of it.
struct State {
    /// The label of its errors.
    error: &'static str,
    begin: fn(&Engine),
    end: fn(&Engine),
}

const STATES: [State; 3] = [
    State {
        error: "readonly",
        begin: |engine| engine.run(&["REPLICAOF", "127.0.0.1", "1"]),
        end: |engine| engine.run(&["REPLICAOF", "NO", "ONE"]),
    },
    State {
        error: "noperm",
        // The administrator keeps other rights than the replicas.
        begin: |engine| engine.run(&["ACL", "SETUSER", "default", "-evalsha", "-eval"]),
        end: |engine| engine.run(&["ACL", "SETUSER", "default", "+evalsha", "+eval"]),
    },
    State {
        error: "oom",
        begin: |engine| engine.run(&["CONFIG", "SET", "maxmemory", "1"]),
        end: |engine| engine.run(&["CONFIG", "SET", "maxmemory", "0"]),
    },
];

fn start(engine: &Engine) -> TestServer {
    let server = TestServer::start(
        RULES,
        &["--store", &engine.url(), "--store-timeout", "500ms", "--store-when-down", "deny", "--store-replicas", "1"],
    );
    server.log_until("the store answers");
    server
}

async fn count(channel: &Channel, key: &str, checks: u32) -> u32 {
    let mut count = 0;
    for _ in 0..checks {
        count += u32::from(admitted(channel, &[(key, "x")]).await);
    }
    count
}

/// Checks until the engine decides again, and then all that are left of a thousand: the hits of both together.
async fn until_used_up(channel: &Channel, key: &str) -> u32 {
    let mut all = 0;
    eventually_async("the engine decides again", async || {
        let is_admitted = admitted(channel, &[(key, "x")]).await;
        all += u32::from(is_admitted);
        is_admitted
    })
    .await;
    eventually_async("the whole limit", async || {
        all += count(channel, key, 100).await;
        let more = count(channel, key, 50).await;
        all += more;
        more == 0
    })
    .await;
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_refuses_is_down_and_the_limit_goes_on_where_it_was() {
    for kind in Kind::installed() {
        for State { error, begin, end } in STATES {
            let engine = Engine::start(kind);
            let server = start(&engine);
            let channel = server.channel().await;
            let mut taken = [count(&channel, "leased", 30).await, count(&channel, "exact", 30).await];
            assert_eq!(taken, [30, 30], "{kind:?}: {error}");
            begin(&engine);
            let errors = format!("tidegate_store_errors_total{{node=\"{}\",error=\"{error}\"}}", engine.address());
            eventually_async("the engine is found out", async || {
                taken[1] += count(&channel, "exact", 1).await;
                server.metric(&errors) > 0
            })
            .await;
            assert_eq!(count(&channel, "exact", 10).await, 0, "{kind:?}: {error}");
            // What is leased is spent, and no more.
            taken[0] += count(&channel, "leased", 100).await;
            end(&engine);
            taken[0] += until_used_up(&channel, "leased").await;
            taken[1] += until_used_up(&channel, "exact").await;
            assert_eq!(taken[1], 1_000, "{kind:?}: {error}");
            // What a request had said that failed may be lost, but is never granted twice.
            assert!((980..=1_000).contains(&taken[0]), "{kind:?}: {error}: {taken:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_still_loads_or_runs_the_script_of_another_is_waited_for() {
    for kind in Kind::installed() {
        let mut engine = Engine::start_with(kind, &["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
        let server = start(&engine);
        let channel = server.channel().await;
        assert_eq!(count(&channel, "exact", 40).await, 40, "{kind:?}");
        engine.run::<()>(&["CONFIG", "SET", "busy-reply-threshold", "1"]);
        let address = engine.address();
        let errors = |error: &str| {
            server.metric(&format!("tidegate_store_errors_total{{node=\"{address}\",error=\"{error}\"}}"))
        };
        let mut taken = 40;
        std::thread::scope(|scope| {
            // The connection is closed when the script is killed.
            scope.spawn(|| engine.try_run::<()>(&["EVAL", "while true do end", "0"]));
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    eventually_async("BUSY", async || {
                        taken += count(&channel, "exact", 1).await;
                        errors("busy") > 0
                    })
                    .await;
                    assert_eq!(count(&channel, "exact", 5).await, 0, "{kind:?}");
                });
                eventually("the script is killed", || engine.try_run::<()>(&["SCRIPT", "KILL"]).is_ok());
            });
        });
        eventually_async("the engine is back", async || {
            let is_admitted = admitted(&channel, &[("exact", "x")]).await;
            taken += u32::from(is_admitted);
            is_admitted
        })
        .await;
        // Each key takes a while to be loaded, and clients are answered now and then.
        let fill = "for i = 1, 20000 do redis.call('SET', 'filler ' .. i, 'x') end";
        engine.run::<()>(&["EVAL", fill, "0"]);
        eventually("the file has everything", || {
            engine.run::<()>(&["CONFIG", "SET", "appendfsync", "always"]);
            engine.run::<String>(&["INFO", "persistence"]).contains("aof_pending_bio_fsync:0\r")
        });
        let slow = ["--key-load-delay", "200"];
        engine.restart_with(&slow);
        eventually_async("LOADING", async || {
            taken += count(&channel, "exact", 1).await;
            errors("loading") > 0
        })
        .await;
        assert_eq!(count(&channel, "exact", 5).await, 0, "{kind:?}: it has not loaded");
        taken += until_used_up(&channel, "exact").await;
        assert_eq!(taken, 1_000, "{kind:?}: nothing is forgotten");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_made_again_and_nothing_is_counted_twice() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let server = start(&engine);
        let channel = server.channel().await;
        let mut taken = 0;
        for _ in 0..20 {
            taken += count(&channel, "exact", 20).await;
            engine.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        taken += until_used_up(&channel, "exact").await;
        assert!((980..=1_000).contains(&taken), "{kind:?}: a request that was lost may have been executed: {taken}");
    }
}
