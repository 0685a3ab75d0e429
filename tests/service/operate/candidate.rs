//! A candidate configuration: it decides next to the one in force, is put in force or is stopped, and one client at a time
//! decides which.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tonic::Code;

use tidegate::api::proto::tidegate::v1::candidate_status::State;
use tidegate::api::proto::tidegate::v1::{
    CandidateStatus, ConfigFile, GetCandidateRequest, ListAuditRequest, PromoteCandidateRequest, StartCandidateRequest,
    StopCandidateRequest,
};

use super::{Operator, admitted, denied, reload, replace, seed};
use crate::TestServer;
use crate::server::{eventually, http};

/// Each user may come so many times a year, which no test outlives.
fn rules(users: u32) -> String {
    format!("domain: api\ndescriptors:\n- {{key: user, rate_limit: {{unit: year, requests_per_unit: {users}}}}}\n")
}

impl Operator {
    pub(super) async fn start(&mut self, rules: &str) -> Result<CandidateStatus, tonic::Status> {
        let file = ConfigFile { name: "candidate.yaml".to_owned(), content: rules.as_bytes().to_vec() };
        let request = StartCandidateRequest { files: vec![file], merge_domains: false };
        self.admin.start_candidate(request).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn promote(&mut self) -> Result<CandidateStatus, tonic::Status> {
        self.admin.promote_candidate(PromoteCandidateRequest {}).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn stop(&mut self) -> Result<CandidateStatus, tonic::Status> {
        self.admin.stop_candidate(StopCandidateRequest {}).await.map(tonic::Response::into_inner)
    }

    async fn candidate(&mut self) -> CandidateStatus {
        self.admin.get_candidate(GetCandidateRequest {}).await.unwrap().into_inner()
    }
}

#[tokio::test]
async fn a_candidate_changes_no_answer_and_shows_where_it_differs() {
    let server = TestServer::start(&rules(3), &[]);
    let mut operator = Operator::of(&server).await;
    assert_eq!(operator.check("user=ann").await, admitted(3, 2));
    operator.start(&rules(1)).await.unwrap();
    for want in [admitted(3, 1), admitted(3, 0), denied(3)] {
        assert_eq!(operator.check("user=ann").await, want);
    }
    assert_eq!(operator.check("user=bob").await, admitted(3, 2));
    let status = operator.candidate().await;
    assert_eq!((status.state(), status.checks, status.differing_checks), (State::Running, 4, 1), "{status:?}");
    let rule = &status.rules[0];
    assert_eq!(
        (&*rule.rule, rule.checks, rule.denied_in_force, rule.denied_by_candidate, rule.only_candidate),
        ("api.user", 4, 1, 2, 1)
    );
    assert_eq!(status.counters[0].entries[0].value, "ann");
    assert!(status.counter_bytes > 0 && status.counter_bytes <= status.budget_bytes, "{status:?}");

    let last = operator.stop().await.unwrap();
    assert_eq!((last.state(), last.checks), (State::Stopped, 4));
    assert_eq!(operator.candidate().await.state(), State::None);
    assert_eq!(operator.check("user=bob").await, admitted(3, 1));
}

#[tokio::test]
async fn a_promoted_candidate_is_in_force_with_the_counts_until_the_file_changes() {
    let server = TestServer::start(&rules(3), &[]);
    let mut operator = Operator::of(&server).await;
    operator.check("user=ann").await;
    operator.start(&rules(2)).await.unwrap();
    operator.check("user=ann").await;
    let promoted = operator.promote().await.unwrap();
    assert_eq!(promoted.state(), State::Promoted);
    assert!(promoted.note.contains("in memory"), "{}", promoted.note);
    assert_eq!(operator.check("user=ann").await, denied(2), "the counts are those of the rules that were in force");
    assert_eq!(operator.check("user=bob").await, admitted(2, 1));
    operator.set("rule api.user", "requests_per_unit", "9").await.unwrap();
    assert_eq!(operator.check("user=bob").await, admitted(9, 7), "settings are over it");
    operator.unset("rule api.user", "requests_per_unit").await.unwrap();
    reload(&server, &rules(7));
    assert_eq!(operator.candidate().await.state(), State::None);
    assert_eq!(operator.check("user=bob").await, admitted(7, 4));
}

/// A promoted candidate stays known as such while another one runs and after that is stopped; it does not hide that the file is broken.
#[tokio::test]
async fn a_promoted_candidate_is_not_forgotten() {
    let server = TestServer::start(&rules(3), &[]);
    let mut operator = Operator::of(&server).await;
    replace(&server.dir.path().join("rules.yaml"), "domain: [broken");
    server.signal("HUP");
    eventually("the failed load", || server.metric("tidegate_config_last_reload_success") == 0);
    operator.start(&rules(2)).await.unwrap();
    let generation = server.metric("tidegate_config_generation");
    operator.promote().await.unwrap();
    assert_eq!(server.metric("tidegate_config_generation"), generation + 1);
    assert_eq!(server.metric("tidegate_config_last_reload_success"), 0, "the file is still broken");
    let (_, ready) = server.http("GET", "/readyz", b"");
    assert!(ready.contains("last reload failed"), "{ready}");
    let running = operator.start(&rules(9)).await.unwrap();
    assert!(running.note.contains("a promoted candidate (candidate.yaml)"), "{}", running.note);
    let stopped = operator.stop().await.unwrap();
    assert!(stopped.note.contains("a promoted candidate"), "{}", stopped.note);
    assert_eq!(operator.candidate().await.state(), State::Promoted);
    reload(&server, &rules(7));
    assert_eq!(operator.candidate().await.state(), State::None);
}

#[tokio::test]
async fn settings_apply_to_the_candidate_too() {
    let server = TestServer::start(&rules(3), &[]);
    let mut operator = Operator::of(&server).await;
    operator.start(&rules(1)).await.unwrap();
    operator.check("user=ann").await;
    operator.set("rule api.user", "requests_per_unit", "2").await.unwrap();
    operator.check("user=ann").await;
    operator.check("user=ann").await;
    let status = operator.candidate().await;
    let rule = &status.rules[0];
    assert_eq!((rule.checks, rule.denied_in_force, rule.denied_by_candidate), (3, 1, 1), "the counts of both are kept");
}

#[tokio::test]
async fn what_is_no_candidate_is_a_clear_error() {
    let server = TestServer::start(&rules(3), &[]);
    let mut operator = Operator::of(&server).await;
    for error in [operator.promote().await.unwrap_err(), operator.stop().await.unwrap_err()] {
        assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
        assert!(error.message().contains("no candidate runs"), "{error:?}");
    }
    let bad = "domain: api\ndescriptors:\n- {key: user, rate_limit: {unit: eon, requests_per_unit: 1}}\n- key: ''\n";
    let error = operator.start(bad).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    let message = error.message();
    assert!(
        message.contains("candidate.yaml:3") && message.contains("empty key"),
        "every error, with its line: {message}"
    );
    for files in [Vec::new(), vec![ConfigFile::default(); 1_001]] {
        let request = StartCandidateRequest { files, merge_domains: false };
        let error = operator.admin.start_candidate(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    }
    let too_large = format!("{}{}", rules(1), "#".repeat(4 << 20));
    assert_eq!(operator.start(&too_large).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(operator.candidate().await.state(), State::None);
    operator.start(&rules(1)).await.unwrap();
    let error = operator.start(&rules(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    assert!(error.message().contains("a candidate runs already"), "{error:?}");
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Start,
    Promote,
    Stop,
}

/// What each of eight clients, with a connection of its own, gets for what all do at once.
async fn at_once(operators: &[Operator], act_of: impl Fn(usize) -> Act) -> Vec<(Act, Result<CandidateStatus, Code>)> {
    let mut clients = JoinSet::new();
    for (client, operator) in operators.iter().enumerate() {
        let (mut operator, act) = (operator.clone(), act_of(client));
        clients.spawn(async move {
            let outcome = match act {
                Act::Start => operator.start(&rules(5)).await,
                Act::Promote => operator.promote().await,
                Act::Stop => operator.stop().await,
            };
            (act, outcome.map_err(|status| status.code()))
        });
    }
    clients.join_all().await
}

/// The one that succeeded; all others learn that there is nothing to do for them.
fn winner(outcomes: Vec<(Act, Result<CandidateStatus, Code>)>) -> (Act, CandidateStatus) {
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
    assert_eq!(won.len(), 1, "exactly one succeeds: {won:?}");
    for (act, outcome) in lost {
        assert_eq!(outcome.unwrap_err(), Code::FailedPrecondition, "{act:?}");
    }
    let (act, outcome) = won.into_iter().next().unwrap();
    (act, outcome.unwrap())
}

const CLIENTS: usize = 8;
const ROUNDS: u32 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_clients_that_start_promote_and_stop_at_once_one_succeeds() {
    let server = TestServer::start(&rules(3), &[]);
    let mut operators = Vec::new();
    for _ in 0..CLIENTS {
        operators.push(Operator::of(&server).await);
    }
    let mut operator = operators[0].clone();
    let (mut in_force, mut changes, mut generation) = (3, 0, server.metric("tidegate_config_generation"));
    for round in 0..ROUNDS {
        winner(at_once(&operators, |_| Act::Start).await);
        assert_eq!(operator.candidate().await.state(), State::Running, "round {round}");
        let (act, status) =
            winner(at_once(&operators, |client| if client.is_multiple_of(2) { Act::Promote } else { Act::Stop }).await);
        let state = operator.candidate().await.state();
        if act == Act::Promote {
            assert_eq!((status.state(), state), (State::Promoted, State::Promoted), "round {round}");
            (in_force, generation) = (5, generation + 1);
        } else {
            // One that was promoted before is still in force.
            let left = if in_force == 5 { State::Promoted } else { State::None };
            assert_eq!((status.state(), state), (State::Stopped, left), "round {round}");
        }
        changes += 2;
        let (_, config) = http(&server.admin, "GET", "/rlconfig", b"");
        assert!(config.contains(&format!("requests_per_unit={in_force},")), "round {round}: {config}");
        assert_eq!(
            server.metric("tidegate_config_generation"),
            generation,
            "round {round}: promoted once or not at all"
        );
    }
    let audit = operator.admin.list_audit(ListAuditRequest::default()).await.unwrap().into_inner();
    assert_eq!(audit.entries.len(), changes, "what did not succeed is no change");
}

/// Does something at random, so many times; what succeeded, by the name of its action in the audit log.
async fn at_random(mut operator: Operator, seed: u64) -> Vec<&'static str> {
    let (mut random, mut succeeded) = (SmallRng::seed_from_u64(seed), Vec::new());
    for _ in 0..100 {
        let (outcome, state, action) = match random.random_range(0..3) {
            0 => (operator.start(&rules(5)).await, State::Running, "candidate_start"),
            1 => (operator.promote().await, State::Promoted, "candidate_promote"),
            _ => (operator.stop().await, State::Stopped, "candidate_stop"),
        };
        match outcome {
            Ok(status) if status.state() == state => succeeded.push(action),
            Ok(status) => panic!("seed {seed}: {action} was answered {status:?}"),
            Err(status) => assert_eq!(status.code(), Code::FailedPrecondition, "seed {seed}: {status:?}"),
        }
    }
    succeeded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_that_succeeded_is_in_the_audit_log_and_no_other() {
    let server = TestServer::start(&rules(3), &[]);
    let seed = seed();
    let mut clients = JoinSet::new();
    for client in 0..8 {
        clients.spawn(at_random(Operator::of(&server).await, seed.wrapping_add(client)));
    }
    let mut succeeded = clients.join_all().await.concat();
    let request = ListAuditRequest { limit: 10_000, ..ListAuditRequest::default() };
    let audit = Operator::of(&server).await.admin.list_audit(request).await.unwrap().into_inner();
    let mut audited: Vec<_> = audit.entries.iter().map(|entry| &*entry.action).collect();
    succeeded.sort_unstable();
    audited.sort_unstable();
    assert_eq!(audited, succeeded, "seed {seed}");
    assert!(succeeded.contains(&"candidate_promote") && succeeded.contains(&"candidate_stop"), "{succeeded:?}");
}
