//! As many settings as there can be, and many operators at once: nothing is lost, and nothing half done.

use std::path::Path;

use rusqlite::Connection;
use tokio::task::JoinSet;
use tonic::Code;

use tidegate::api::proto::tidegate::v1::ListAuditRequest;

use super::hostile::RULES;
use super::{Answer, Operator, admitted};
use crate::TestServer;
use crate::server::eventually_async;

/// Settings that are possible, and the rules that they are spread over.
const MOST: usize = 10_000;
const RULES_OF_MANY: usize = 2_000;
const NAMES: [(&str, &str); 5] =
    [("requests_per_unit", "7"), ("period", "366d"), ("ban", "1h"), ("enabled", "true"), ("shadow_mode", "false")];

/// Stores the settings of rule `api.k0` for all others but the last two, too: to set each of them would take a while.
fn multiply_settings(settings: &Connection) {
    let sql = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
        INSERT INTO setting SELECT kind, 'api.k' || n, entries, place, name, value, principal, set_at, reason, until
        FROM number, setting";
    let last = i64::try_from(RULES_OF_MANY - 2).unwrap();
    assert_eq!(settings.execute(sql, [last]).unwrap(), MOST - 2 * NAMES.len());
}

/// A server with as many settings as [`multiply_settings`] stores, and what else is done to them while it is down.
async fn crowded(data: &Path, change: impl FnOnce(&Connection)) -> TestServer {
    let key = |place: usize| format!("- {{key: k{place}, rate_limit: {{unit: year, requests_per_unit: 3}}}}\n");
    let rules: String = (0..=RULES_OF_MANY).map(key).collect();
    let flags = ["--data-dir", data.to_str().unwrap()];
    let mut server = TestServer::start(&format!("domain: api\ndescriptors:\n{rules}"), &flags);
    let mut operator = Operator::of(&server).await;
    for (name, value) in NAMES {
        operator.set("rule api.k0", name, value).await.unwrap();
    }
    server.crash();
    let settings = Connection::open(data.join("settings.sqlite")).unwrap();
    multiply_settings(&settings);
    change(&settings);
    drop(settings);
    server.restart();
    server
}

#[tokio::test]
async fn settings_that_expire_together_end_together() {
    let data = tempfile::tempdir().unwrap();
    let expire_soon = |settings: &Connection| {
        let sql = "UPDATE setting SET until = (CAST(strftime('%s', 'now') AS INTEGER) + 3) * 1000000000";
        settings.execute(sql, ()).unwrap();
    };
    let mut server = crowded(data.path(), expire_soon).await;
    let mut operator = Operator::of(&server).await;
    let many = MOST - NAMES.len();
    eventually_async("the end of all settings", async || {
        let left = operator.settings().await.len();
        assert!(left == many || left == 0, "{left} of {many} are left");
        left == 0
    })
    .await;
    assert_eq!(operator.check("k1=a").await, admitted(3, 2));
    let request = ListAuditRequest { limit: 10_000, ..ListAuditRequest::default() };
    let audit = operator.admin.list_audit(request).await.unwrap().into_inner().entries;
    let expired: Vec<_> = audit.iter().filter(|entry| entry.action == "expire").collect();
    assert!(expired.len() == many && expired.iter().all(|entry| entry.time == expired[0].time), "{}", expired.len());
    server.crash();
    server.restart();
    assert!(Operator::of(&server).await.settings().await.is_empty(), "they are gone from the disk, too");
}

#[tokio::test]
async fn one_setting_too_many_is_rejected_and_all_others_are_in_force() {
    let data = tempfile::tempdir().unwrap();
    let server = crowded(data.path(), |_| ()).await;
    let mut operator = Operator::of(&server).await;
    for (name, value) in NAMES {
        operator.set(&format!("rule api.k{}", RULES_OF_MANY - 1), name, value).await.unwrap();
    }

    let last = format!("rule api.k{RULES_OF_MANY}");
    let error = operator.set(&last, "requests_per_unit", "7").await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
    assert!(error.message().contains("10000 settings") && error.message().contains("unset some"), "{error:?}");
    let listed = operator.settings().await;
    assert!(listed.len() == MOST && listed.iter().all(|setting| !setting.contains("inactive")), "{}", listed.len());
    for place in 0..RULES_OF_MANY {
        assert_eq!(operator.check(&format!("k{place}=a")).await, admitted(7, 6), "k{place}");
    }
    assert_eq!(operator.check(&format!("k{RULES_OF_MANY}=a")).await, admitted(3, 2), "the one too many");
    operator.set("rule api.k0", "requests_per_unit", "8").await.expect("replacing one is no more");
    operator.unset("rule api.k1", "requests_per_unit").await.unwrap();
    operator.set(&last, "requests_per_unit", "7").await.expect("there is room again");
    assert_eq!(operator.settings().await.len(), MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_eight_clients_set_at_once_is_what_is_listed_and_in_force() {
    let server = TestServer::start(RULES, &[]);
    let mut clients = JoinSet::new();
    for client in 0..8_u32 {
        let mut operator = Operator::of(&server).await;
        clients.spawn(async move {
            let of = format!("rule api.user user={client}");
            for number in 1..=50 {
                let set = operator.set(&of, "requests_per_unit", &number.to_string()).await.unwrap();
                assert_eq!(set.old, if number == 1 { "3".to_owned() } else { (number - 1).to_string() });
                // All of them change this one, too.
                let _all = operator.set("rule api.user", "requests_per_unit", "3").await.unwrap();
                let Answer { limit, .. } = operator.check(&format!("user={client}")).await;
                assert_eq!(limit.unwrap().0, number, "client {client}");
            }
        });
    }
    clients.join_all().await;
    let mut operator = Operator::of(&server).await;
    let mut want: Vec<_> = (0..8).map(|client| format!("rule api.user user={client} requests_per_unit 50")).collect();
    want.insert(0, "rule api.user requests_per_unit 3".to_owned());
    assert_eq!(operator.settings().await, want);
    let request = ListAuditRequest { limit: 10_000, ..ListAuditRequest::default() };
    let audit = operator.admin.list_audit(request).await.unwrap().into_inner();
    assert_eq!(audit.entries.len(), 8 * 50 * 2);
}
