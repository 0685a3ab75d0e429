//! What becomes of settings over time: in a reload, at their end, after a crash, and where they are read-only.

use std::fs;

use tonic::Code;

use tidegate::api::proto::tidegate::v1::{ListAuditRequest, ListSettingsRequest, SetSettingRequest};

use super::settings::RULES;
use super::{Operator, UNLIMITED, admitted, reload, seconds, setting};
use crate::TestServer;
use crate::server::{command, eventually_async, rules_in};

/// The rules without the one for users.
const WITHOUT_USERS: &str = "
domain: api
descriptors:
  - key: tenant
    rate_limit: {unit: year, requests_per_unit: 2}
";

#[tokio::test]
async fn a_setting_whose_rule_vanishes_works_again_when_the_rule_comes_back() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    operator.set("rule api.user", "requests_per_unit", "9").await.unwrap();
    assert_eq!(operator.check("user=ann").await, admitted(9, 8));
    reload(&server, WITHOUT_USERS);
    assert_eq!(operator.check("user=ann").await, UNLIMITED);
    assert_eq!(operator.settings().await, ["rule api.user requests_per_unit 9 (inactive)"]);
    reload(&server, RULES);
    assert_eq!(operator.settings().await, ["rule api.user requests_per_unit 9"]);
    assert_eq!(operator.check("user=ann").await, admitted(9, 7), "the count was kept, too");
    reload(&server, WITHOUT_USERS);
    operator.unset("rule api.user", "requests_per_unit").await.unwrap();
    reload(&server, RULES);
    assert_eq!(operator.check("user=ann").await, admitted(3, 0), "it was removed while it was inactive");
}

#[tokio::test]
async fn a_setting_expires_by_itself() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let request = SetSettingRequest { r#for: Some(seconds(3)), ..setting("rule api.user", "requests_per_unit", "900") };
    let set = operator.admin.set_setting(request).await.unwrap().into_inner().setting.unwrap();
    let (from, until) = (set.set_at.unwrap(), set.until.unwrap());
    // The one has nanoseconds, the other microseconds.
    assert_eq!((until.seconds, until.nanos / 1_000), (from.seconds + 3, from.nanos / 1_000));
    operator.set("rule api.tenant", "requests_per_unit", "5").await.unwrap();
    assert_eq!(operator.check("user=ann").await, admitted(900, 899));
    eventually_async("the end of the setting", async || {
        operator.settings().await == ["rule api.tenant requests_per_unit 5"]
    })
    .await;
    assert_eq!(operator.check("user=ann").await.limit.map(|limit| limit.0), Some(3));
    let audit = operator.admin.list_audit(ListAuditRequest::default()).await.unwrap().into_inner().entries;
    let expired = &audit[0];
    assert_eq!(
        (&*expired.action, &*expired.principal, &*expired.old, &*expired.new),
        ("expire", "tidegate", "900", "3")
    );
    let late = expired.time.unwrap().seconds - until.seconds;
    assert!((0..=1).contains(&late), "exact to a second: {late} s late");
}

#[tokio::test]
async fn read_only_settings_cannot_be_changed() {
    let server = TestServer::start(RULES, &["--settings", "read-only"]);
    let mut operator = Operator::of(&server).await;
    let set = operator.set("rule api.user", "requests_per_unit", "9").await.unwrap_err();
    let unset = operator.unset("rule api.user", "requests_per_unit").await.unwrap_err();
    for error in [set, unset] {
        assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
        assert!(error.message().contains("read-only"), "{error:?}");
    }
    let listed = operator.admin.list_settings(ListSettingsRequest::default()).await.unwrap().into_inner();
    assert!(listed.read_only && listed.settings.is_empty(), "{listed:?}");
    assert_eq!(operator.check("user=ann").await, admitted(3, 2));
}

/// The actions of the audit log, the latest first.
async fn actions(operator: &mut Operator) -> Vec<String> {
    let audit = operator.admin.list_audit(ListAuditRequest::default()).await.unwrap().into_inner();
    audit
        .entries
        .into_iter()
        .map(|entry| format!("{} {} {}>{}", entry.action, entry.name, entry.old, entry.new))
        .collect()
}

#[tokio::test]
async fn settings_and_the_audit_log_outlive_a_crash_with_a_data_directory_only() {
    for keeps in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let flags = ["--data-dir", data.path().to_str().unwrap()];
        let mut server = TestServer::start(RULES, if keeps { &flags } else { &[] });
        let mut operator = Operator::of(&server).await;
        operator.set("rule api.user", "requests_per_unit", "9").await.unwrap();
        operator.set("rule api.user user=ann", "requests_per_unit", "5").await.unwrap();
        operator.set("", "shadow_mode", "true").await.unwrap();
        operator.unset("", "shadow_mode").await.unwrap();
        let (listed, audited) = (operator.settings().await, actions(&mut operator).await);
        assert_eq!((listed.len(), audited.len()), (2, 4));
        server.crash();
        server.restart();
        let mut operator = Operator::of(&server).await;
        if keeps {
            assert_eq!((operator.settings().await, actions(&mut operator).await), (listed, audited));
            assert_eq!(operator.check("user=ann").await, admitted(5, 4), "from the first check on");
            assert_eq!(operator.check("user=bob").await, admitted(9, 8));
            assert_eq!(operator.check("tenant=acme").await, admitted(2, 1));
        } else {
            assert!(operator.settings().await.is_empty() && actions(&mut operator).await.is_empty());
            assert_eq!(operator.check("user=ann").await, admitted(3, 2));
        }
    }
}

#[tokio::test]
async fn a_setting_that_expired_while_the_service_was_down_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(RULES, &["--data-dir", data.path().to_str().unwrap()]);
    let mut operator = Operator::of(&server).await;
    let request = SetSettingRequest { r#for: Some(seconds(1)), ..setting("rule api.user", "requests_per_unit", "9") };
    let until = operator.admin.set_setting(request).await.unwrap().into_inner().setting.unwrap().until.unwrap();
    server.crash();
    #[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    eventually_async("the end of the setting", async || now() > u64::try_from(until.seconds).unwrap()).await;
    server.restart();
    let mut operator = Operator::of(&server).await;
    eventually_async("no setting", async || operator.settings().await.is_empty()).await;
    assert_eq!(operator.check("user=ann").await.limit.map(|limit| limit.0), Some(3));
    assert_eq!(actions(&mut operator).await[0], "expire requests_per_unit 9>3");
}

#[tokio::test]
async fn damaged_settings_are_set_aside_and_the_service_starts() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("settings.sqlite");
    let mut server = TestServer::start(RULES, &["--data-dir", data.path().to_str().unwrap()]);
    Operator::of(&server).await.set("rule api.user", "requests_per_unit", "9").await.unwrap();
    let first_page = [&b"SQLite format 3\0"[..], &[0x5a; 4096]].concat();
    let foreign = foreign_database();
    let damages = [&b"this is no database, and never was"[..], &[0xff; 8192], &first_page, &foreign];
    for (round, damage) in damages.iter().enumerate() {
        server.crash();
        // The latest pages are in the log of SQLite, which would repair the file.
        for log in ["sqlite-wal", "sqlite-shm"] {
            fs::remove_file(path.with_extension(log)).unwrap();
        }
        fs::write(&path, damage).unwrap();
        server.restart();
        let mut operator = Operator::of(&server).await;
        assert!(operator.settings().await.is_empty(), "damage {round}");
        assert!(server.log().iter().any(|line| line.contains("set aside")), "damage {round}: {:?}", server.log());
        let ready = server.http("GET", "/readyz", b"").1;
        assert!(ready.contains("settings: those of the last run are not in force: settings.sqlite: "), "{ready}");
        assert_eq!(server.metric("tidegate_state_damaged_files"), 1, "damage {round}");
        assert_eq!(operator.check("user=ann").await, admitted(3, 2), "damage {round}");
        // What is set now is kept: a second start works.
        operator.set("rule api.user", "requests_per_unit", "8").await.unwrap();
        server.crash();
        server.restart();
        assert_eq!(
            Operator::of(&server).await.settings().await,
            ["rule api.user requests_per_unit 8"],
            "damage {round}"
        );
    }
    let aside = fs::read_dir(data.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(aside.filter(|name| name.starts_with("settings.sqlite.corrupt-")).count() >= 1, "the damaged file is kept");
}

/// A database of another program, with tables of the same names.
fn foreign_database() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE setting (id INTEGER, name TEXT); CREATE TABLE audit (id INTEGER, line TEXT);")
        .unwrap();
    other.close().unwrap();
    fs::read(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_cannot_be_stored_is_in_force_with_a_warning() {
    let data = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(RULES, &["--data-dir", data.path().to_str().unwrap()]);
    let mut operator = Operator::of(&server).await;
    operator.set("rule api.tenant", "requests_per_unit", "8").await.unwrap();
    let other = rusqlite::Connection::open(data.path().join("settings.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut setting = operator.clone();
    let setting = tokio::spawn(async move { setting.set("rule api.user", "requests_per_unit", "9").await.unwrap() });
    eventually_async("the setting", async || operator.check("user=ann").await.limit.is_some_and(|limit| limit.0 == 9))
        .await;
    assert_eq!(operator.check("tenant=acme").await, admitted(8, 7), "no check waits for the disk");
    let set = setting.await.unwrap();
    assert!(set.warning.contains("will be lost at a restart"), "{set:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(operator.set("rule api.node", "requests_per_unit", "7").await.unwrap().warning, "");
    server.crash();
    server.restart();
    let kept = Operator::of(&server).await.settings().await;
    assert_eq!(kept, ["rule api.node requests_per_unit 7", "rule api.tenant requests_per_unit 8"]);
}

#[tokio::test]
async fn settings_of_a_later_version_are_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let path = data.join("settings.sqlite");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 1_000).unwrap();
    let before = fs::read(&path).unwrap();
    let output = command(&rules_in(&dir, RULES), &["--data-dir", data.to_str().unwrap()]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("schema version 1000") && stderr.contains("run the newer program"), "{stderr}");
    assert!(fs::read(&path).unwrap() == before);
}
