//! Commands against a server: what it receives, what is printed, and how a command ends.

use std::fs;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Parser;
use prost_types::{Duration, Timestamp as WireTime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::AdminCommand;
use super::connection::{Failure, Outcome, Printed, finish};
use crate::api::proto::tidegate::v1::admin_service_server::{AdminService, AdminServiceServer};
use crate::api::proto::tidegate::v1::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: AdminCommand,
}

/// Runs a command line.
fn outcome(address: &str, line: &[&str]) -> Outcome {
    let line = [&["tidegate"], line, &["--admin-addr", address]].concat();
    Line::try_parse_from(line).unwrap().command.outcome().unwrap()
}

/// What a server received, with the token.
type Received = Arc<Mutex<Vec<String>>>;

/// A server whose answers depend on the request alone.
#[derive(Clone, Default)]
struct Server {
    received: Received,
}

impl Server {
    /// Serves until the process ends.
    fn start() -> (String, Received) {
        let server = Self::default();
        let received = Arc::clone(&server.received);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
                let service = AdminServiceServer::new(server).max_decoding_message_size(8 << 20);
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
            });
        });
        (address, received)
    }

    fn receive<R: std::fmt::Debug>(&self, request: &Request<R>) {
        let token = request.metadata().get("authorization").map(|token| token.to_str().unwrap().to_owned());
        self.received.lock().unwrap().push(format!("{} {:?}", token.unwrap_or_default(), request.get_ref()));
    }
}

type Answer<R> = Result<Response<R>, Status>;

#[tonic::async_trait]
impl AdminService for Server {
    type RecordChecksStream = tokio_stream::Iter<std::vec::IntoIter<Result<RecordedChecks, Status>>>;

    /// A recording that is not finished when the stream ends.
    async fn record_checks(&self, request: Request<RecordChecksRequest>) -> Answer<Self::RecordChecksStream> {
        self.receive(&request);
        let check = RecordedCheck { time: Some(prost_types::Timestamp::default()), ..RecordedCheck::default() };
        let message = RecordedChecks { checks: vec![check], num_recorded: 1, num_lost: 7, ..RecordedChecks::default() };
        Ok(Response::new(tokio_stream::iter(vec![Ok(message)])))
    }

    async fn list_settings(&self, request: Request<ListSettingsRequest>) -> Answer<ListSettingsResponse> {
        self.receive(&request);
        Ok(Response::new(ListSettingsResponse { read_only: true, ..Default::default() }))
    }

    async fn get_setting(&self, _: Request<GetSettingRequest>) -> Answer<GetSettingResponse> {
        std::future::pending().await
    }

    async fn set_setting(&self, request: Request<SetSettingRequest>) -> Answer<SetSettingResponse> {
        self.receive(&request);
        match request.get_ref().name.as_str() {
            "requests_per_unit" => {
                Ok(Response::new(SetSettingResponse { warning: "not\x1b stored".into(), ..Default::default() }))
            }
            "burst" => Err(Status::failed_precondition("settings are read-only\x1b[2J")),
            name => Err(Status::invalid_argument(format!("there is no {name}"))),
        }
    }

    async fn unset_setting(&self, _: Request<UnsetSettingRequest>) -> Answer<UnsetSettingResponse> {
        Err(Status::unavailable(""))
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Answer<ListAuditResponse> {
        self.receive(&request);
        Ok(Response::new(ListAuditResponse::default()))
    }

    async fn list_counters(&self, request: Request<ListCountersRequest>) -> Answer<ListCountersResponse> {
        let ListCountersRequest { page_token, top, rule, .. } = request.into_inner();
        let (used, next) = match page_token.as_str() {
            _ if rule == "circle" => (1, "a"),
            "" => (3, "a"),
            "a" => (9, "b"),
            _ => (7, ""),
        };
        let counter = Counter { rule: "api".into(), used, limit: top, ..Counter::default() };
        Ok(Response::new(ListCountersResponse {
            counters: vec![counter],
            matched: 5,
            searched: 10,
            total: 30,
            progress: 0.5,
            next_page_token: next.into(),
        }))
    }

    async fn reset_counters(&self, request: Request<ResetCountersRequest>) -> Answer<ResetCountersResponse> {
        self.receive(&request);
        Ok(Response::new(ResetCountersResponse { reset: 3, ..Default::default() }))
    }

    async fn ban_counter(&self, request: Request<BanCounterRequest>) -> Answer<BanCounterResponse> {
        self.receive(&request);
        Ok(Response::new(BanCounterResponse { until: Some(WireTime { seconds: 60, nanos: 0 }), ..Default::default() }))
    }

    async fn unban_counters(&self, request: Request<UnbanCountersRequest>) -> Answer<UnbanCountersResponse> {
        self.receive(&request);
        Ok(Response::new(UnbanCountersResponse { unbanned: 1, ..Default::default() }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        self.receive(&request);
        Ok(Response::new(ExplainResponse::default()))
    }

    async fn list_limits(&self, request: Request<ListLimitsRequest>) -> Answer<ListLimitsResponse> {
        self.receive(&request);
        Err(Status::not_found("there is no domain"))
    }

    async fn start_candidate(&self, request: Request<StartCandidateRequest>) -> Answer<CandidateStatus> {
        self.receive(&request);
        Ok(Response::new(CandidateStatus { state: candidate_status::State::Running.into(), ..Default::default() }))
    }

    async fn get_candidate(&self, _: Request<GetCandidateRequest>) -> Answer<CandidateStatus> {
        Ok(Response::new(CandidateStatus { state: candidate_status::State::None.into(), ..Default::default() }))
    }

    async fn promote_candidate(&self, _: Request<PromoteCandidateRequest>) -> Answer<CandidateStatus> {
        Err(Status::unimplemented("unknown service"))
    }

    async fn stop_candidate(&self, _: Request<StopCandidateRequest>) -> Answer<CandidateStatus> {
        Ok(Response::new(CandidateStatus { state: candidate_status::State::Stopped.into(), ..Default::default() }))
    }
}

#[test]
fn answers_are_printed() {
    let (address, _) = Server::start();
    let ban = ["counters", "ban", "--rule", "api.user", "--entry", "user=x", "--for", "10m", "--json"];
    let cases: &[(&[&str], &str)] = &[
        (&["settings", "list"], "no settings\nsettings cannot be changed: the server runs with --settings read-only"),
        (&["settings", "list", "--json"], r#"{"settings":[],"readOnly":true}"#),
        (&["audit"], "no changes"),
        (&["counters", "reset", "--rule", "api.user"], "reset 3 counters"),
        (&["counters", "reset", "--rule", "api.user", "--json"], r#"{"reset":"3","warning":""}"#),
        (&["counters", "unban", "--rule", "api.user"], "lifted the ban of 1 counter"),
        (&ban, r#"{"until":"1970-01-01T00:01:00Z","warning":""}"#),
        (
            &["counters", "list", "--top", "2"],
            "\
rule api
entries  used  limit  remaining  reset  state
            9      -          0
            7      -          0
2 of 15 matching counters (30 searched)",
        ),
        (
            &["counters", "list", "--top", "1", "--json"],
            concat!(
                r#"{"counters":[{"domain":"","rule":"api","entries":[],"limitPlace":0,"used":"9","limit":1,"remaining":"0","#,
                r#""denied":false,"set":false,"queued":"0","calendar":""}],"matched":"15","searched":"30","total":"30","progress":0.5,"nextPageToken":""}"#
            ),
        ),
        (&["explain", "--domain", "api", "--descriptor", "a=1"], "rule: none\na check would get OK"),
        (
            &["explain", "--domain", "api", "--descriptor", "a=1", "--json"],
            concat!(
                r#"{"steps":[],"rule":"","why":"","nearMisses":[],"limits":[],"overLimit":false,"settings":[],"#,
                r#""shadowMode":false}"#
            ),
        ),
        (&["candidate", "status"], "no candidate"),
        (&["candidate", "stop"], "the candidate is stopped"),
    ];
    for (line, expected) in cases {
        assert_eq!(outcome(&address, line), Ok((*expected).to_owned().into()), "{line:?}");
    }
    let set = outcome(&address, &["settings", "set", "requests_per_unit", "-1"]);
    assert_eq!(set, Ok(Printed { text: "set".into(), warning: "not\x1b stored".into() }));
}

#[test]
fn requests_hold_the_arguments_and_the_token() {
    let (address, received) = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("token"), " s3cret\n").unwrap();
    fs::write(path("next.yaml"), "domain: api").unwrap();
    let token = path("token");
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let hour = Some(Duration { seconds: 3_600, nanos: 0 });
    let scope =
        SettingScope { rule: "api.user".into(), entries: vec![entry("user", "a,b")], limit: 2, ..Default::default() };
    let (name, value, reason) = ("requests_per_unit".to_owned(), "-1".to_owned(), "why".to_owned());
    let start = ConfigFile { name: path("next.yaml"), content: b"domain: api".to_vec() };
    let cases: &[(&[&str], String)] = &[
        (
            &[
                "settings",
                "set",
                "--rule",
                "api.user",
                "--entry",
                r"user=a\,b",
                "--limit",
                "2",
                "requests_per_unit",
                "-1",
                "--for",
                "1h",
                "--reason",
                "why",
                "--token-file",
                &token,
            ],
            format!("Bearer s3cret {:?}", SetSettingRequest { scope: Some(scope), name, value, r#for: hour, reason }),
        ),
        (
            &["audit", "--since", "1h"],
            format!(" {:?}", ListAuditRequest { since: hour, limit: 0, ..Default::default() }),
        ),
        (
            &["explain", "--domain", "api", "--descriptor", "a=1,b=2", "--hits", "5"],
            format!(
                " {:?}",
                ExplainRequest { domain: "api".into(), entries: vec![entry("a", "1"), entry("b", "2")], hits: 5 }
            ),
        ),
        (
            &["candidate", "start", &start.name, "--merge-domains"],
            format!(" {:?}", StartCandidateRequest { files: vec![start.clone()], merge_domains: true }),
        ),
    ];
    for (line, expected) in cases {
        assert!(outcome(&address, line).is_ok(), "{line:?}");
        assert_eq!(received.lock().unwrap().pop().as_ref(), Some(expected), "{line:?}");
    }
}

#[test]
fn a_status_from_the_server_is_1_and_no_answer_is_2() {
    let (address, _) = Server::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("empty"), "\n").unwrap();
    fs::write(path("lines"), "s3cret\nmore").unwrap();
    let nobody = format!("unix:{}", path("nobody.sock"));
    let (gone, empty, lines, trace) = (path("gone"), path("empty"), path("lines"), path("trace.jsonl"));
    let cases: &[(&str, &[&str], u8, &str)] = &[
        (&address, &["settings", "set", "burst", "5"], 1, "settings are read-only"),
        (&address, &["settings", "set", "brust", "5"], 1, "there is no brust"),
        (&address, &["settings", "unset", "burst"], 1, "Unavailable"),
        (&address, &["limits", "--domain", "api"], 1, "there is no domain"),
        (&address, &["record", "--out", &trace], 1, "the server has ended the recording early"),
        (&address, &["record", "--out", &trace], 2, "the file exists; choose another name"),
        (&address, &["candidate", "promote"], 2, "is not the admin port of a Tidegate of this version"),
        (
            &address,
            &["settings", "get", "burst", "--timeout", "50ms"],
            2,
            "no answer within 50ms; does --admin-addr name",
        ),
        (&address, &["counters", "list", "--rule", "circle"], 2, "the same page twice"),
        (&nobody, &["settings", "list"], 2, "is the service running, and does --admin-addr name its admin port?"),
        (&silent, &["settings", "list", "--timeout", "50ms"], 2, "no answer within 50ms"),
        (&address, &["settings", "list", "--token-file", &gone], 2, "No such file"),
        (&address, &["settings", "list", "--token-file", &empty], 2, "empty: is empty"),
        (&address, &["settings", "list", "--token-file", &lines], 2, "is not one line of ASCII text"),
        (&address, &["candidate", "start", &gone], 2, "no such file"),
    ];
    for (address, line, status, expected) in cases {
        let found = outcome(address, line);
        let (code, error) = match &found {
            Err(Failure::Status(error)) => (1, error),
            Err(Failure::NoAnswer(error)) => (2, error),
            Ok(printed) => panic!("{line:?}: {printed:?}"),
        };
        assert!(code == *status && error.contains(expected) && !error.contains("s3cret"), "{line:?}: {found:?}");
        assert_eq!(finish(found), ExitCode::from(*status), "{line:?}");
    }
    assert_eq!(finish(Ok(String::new().into())), ExitCode::SUCCESS);
    let ended = r#"{"recording":{"ended":"the server has ended the recording early","checks":1,"lost":7}}"#;
    assert_eq!(fs::read_to_string(trace).unwrap().lines().last(), Some(ended));
}
