//! A rolling update of pods that share a store, behind a real Envoy, under load: no request fails, no hit is admitted above the limit,
//! and pods that end give back what they were lent.
//!
//! All requests are of one partner, whose limit is of a window that no run outlives, so that what Envoy let pass is compared with one number.
//! `ROLLING_UPDATES=10` updates that often, with a limit that is as many times higher.

use std::env;
use std::thread;

use tempfile::TempDir;

use crate::chart::{self, notes};
use crate::client::{Client, Stats, tally};
use crate::engines::{Engine, Kind};
use crate::proxy::{self, Envoy};
use crate::rolling::{Rollout, bootstrap, cluster, under_load, wait_for_healthy};
use crate::server::{ReservedPort, Stopwatch};
use crate::tools::Tool;

#[test]
fn a_rolling_update_of_pods_that_share_a_store_keeps_the_limit() {
    let Some(helm) = Tool::helm() else { return };
    let (Some(binary), Some(kind)) = (proxy::installed(), Kind::any()) else { return };
    let updates: usize = env::var("ROLLING_UPDATES").map_or(1, |number| number.parse().unwrap());
    let limit = updates * LIMIT_PER_UPDATE;
    let documents = chart::render(&helm, "three pods that share a store", &values(limit), KINDS);
    let engine = Engine::start(kind);
    let port = ReservedPort::new();
    let mut rollout = Rollout::begin(&documents, &engine.url(), port.port);
    let (dir, service) = (TempDir::new().unwrap(), ReservedPort::new());
    let cluster = cluster(&notes(&helm, &["--set", "replicas=3"]), port.port);
    let envoy = Envoy::start(&binary, dir.path(), &bootstrap(&rollout.dns, &service, &cluster), 2);
    wait_for_healthy(&envoy, 3);

    let clock = Stopwatch::start();
    let during = under_load(&envoy, &|_| PARTNER.to_owned(), || {
        for _ in 0..updates {
            rollout.restart();
            wait_for_healthy(&envoy, 3);
        }
    });
    eprintln!("{updates} rolling updates of three pods in {:.1?}: {during:?} of a limit of {limit}", clock.elapsed());
    assert!(during.keys().all(|status| [200, 429].contains(status)), "{during:?}");
    assert!(admitted(&during) > 500, "too little traffic to show anything: {during:?}");
    // A slow machine uses up the limit meanwhile.
    let is_used_up = admitted(&during) >= nearly(limit);
    assert!(is_used_up || !during.contains_key(&429), "denied before the limit was used up: {during:?}");

    let after = spend_the_rest(&envoy);
    let all = admitted(&during) + admitted(&after);
    eprintln!("then {after:?}: {all} of {limit}");
    assert!(after.keys().all(|status| [200, 429].contains(status)), "{after:?}");
    assert!((nearly(limit)..=limit).contains(&all), "{all} of a limit of {limit}");
    assert_eq!(envoy.rls_errors(), 0);

    rollout.end();
    let keys: Vec<String> = engine.run(&["KEYS", "tg1:*:*"]);
    let granted: Vec<usize> = keys.iter().map(|key| engine.run(&["GET", key])).collect();
    assert_eq!(granted, [all], "what was lent and not spent is back");
}

fn admitted(seen: &Stats) -> usize {
    seen.get(&200).copied().unwrap_or(0)
}

/// What has to be admitted of a limit in the end: with leases that ended pods had not given back it would be less.
fn nearly(limit: usize) -> usize {
    limit - limit / 50
}

/// Sends requests until hardly any is admitted.
fn spend_the_rest(envoy: &Envoy) -> Stats {
    let client = || {
        let mut client = Client::to(envoy.gateway);
        let (mut statuses, mut denied) = (Vec::new(), 0);
        while denied < DENIED_IN_A_ROW {
            let status = client.try_get("/", &[("x-partner", PARTNER.as_bytes())]).map_or(0, |reply| reply.status);
            denied = if status == 200 { 0 } else { denied + 1 };
            statuses.push(status);
        }
        statuses
    };
    thread::scope(|scope| {
        let clients = [(); 4].map(|()| scope.spawn(client));
        tally(clients.into_iter().flat_map(|client| client.join().unwrap()))
    })
}

/// Each pod answers a good part of them: Envoy asks one after the other.
const DENIED_IN_A_ROW: usize = 100;
const PARTNER: &str = "acme";
/// More than what is sent in an update on an idle machine.
const LIMIT_PER_UPDATE: usize = 3_000;

/// On a busy machine the store may take longer than a check waits in production; the timeout is not what is tested.
fn values(limit: usize) -> String {
    let rule = format!("{{key: partner, rate_limit: {{unit: year, requests_per_unit: {limit}}}}}");
    format!(
        r#"
replicas: 3
rules: {{files: {{rules.yaml: "domain: partner-api\ndescriptors: [{rule}]\n"}}}}
sharing: {{urlSecret: counters, timeout: 1s, whenDown: deny, required: true}}
shutdown: {{preStopSeconds: 4, drainSeconds: 3}}
networkPolicy: {{enabled: false}}
"#
    )
}

const KINDS: &str = "ConfigMap Deployment Pod PodDisruptionBudget Service ServiceAccount";
