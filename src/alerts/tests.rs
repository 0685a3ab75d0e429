//! Alerts from a limiter that denies to a real HTTP server and a real SMTP server, on a clock that the test moves.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, sync_channel};
use std::thread;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

use super::watch::Watch;
use super::*;
use crate::limiter::{Check, Descriptor, Settings, WorkerSlot};
use crate::rules::{Entry, LoadOptions, SourceFile, load};
use crate::units::Timestamp;

/// A limiter that denies, with its alerts.
struct Scene {
    limiter: Arc<Limiter>,
    sender: Arc<Sender>,
    watch: Watch,
    now: Timestamp,
}

impl Scene {
    fn new(alerts: &str, settings: AlertSettings) -> Self {
        let limiter = Arc::new(Limiter::new(Settings::default()));
        let sender = Arc::new(Sender::new(settings, instance()));
        let watch = Watch::new(Arc::clone(&limiter), Arc::clone(&sender));
        let now = Timestamp::from_ns(1_700_000_000_000_000_000);
        let mut scene = Self { limiter, sender, watch, now };
        scene.configure(alerts);
        scene
    }

    fn configure(&mut self, alerts: &str) {
        let limit = "{unit: hour, requests_per_unit: 1}";
        let text = format!("domain: api\ndescriptors:\n- {{key: partner, rate_limit: {limit}}}\nalerts:\n{alerts}");
        let files = [SourceFile { name: "f".into(), text: text.into_bytes() }];
        self.limiter.replace_rules(Timestamp::EPOCH, load(&files, LoadOptions::default()).unwrap());
        self.watch.step(self.now);
    }

    /// That many checks of one partner.
    fn ask(&mut self, partner: &str, times: usize) {
        self.limiter.usage().denials().tick();
        let entries = [Entry { key: "partner".into(), value: partner.into() }].into_iter().collect();
        let descriptors = [Descriptor { entries, ..Descriptor::default() }].into_iter().collect();
        let check = Check { domain: "api".into(), descriptors, ..Check::default() };
        for _ in 0..times {
            self.limiter.view().unwrap().check(WorkerSlot(0), self.now, &check);
        }
    }

    /// A second later: how many messages there are.
    fn tick(&mut self) -> usize {
        self.now = self.now.plus(Nanos::SECOND);
        self.watch.step(self.now)
    }

    /// Sends until nothing waits any more: how long that took by the clock.
    fn send_all(&mut self) -> Nanos {
        let begun = self.now;
        while let Some(due) = self.sender.next_due() {
            self.now = self.now.max(due);
            assert!(self.sender.send_one(self.now));
        }
        self.now.since(begun)
    }

    /// The receiver of the first alert.
    fn receiver(&self, settings: &AlertSettings) -> Receiver {
        let view = self.limiter.view().unwrap();
        Receiver::for_alert(&view.rules().unwrap().domain("api").unwrap().alerts[0], settings).remove(0)
    }

    fn counts(&self) -> (u64, Vec<u64>) {
        (self.sender.counts().fired(), self.sender.counts().deliveries().map(|(_, n)| n).to_vec())
    }
}

fn instance() -> Instance {
    Instance { host: "gw-1".into(), id: "00c0ffee".into() }
}

/// A server that answers with these statuses, then with 204; the URL, and what it was sent.
fn web_server(statuses: &[u16]) -> (String, Channel<(HeaderMap, Value)>) {
    let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
    let (sent, received) = sync_channel(100);
    let (bound, address) = sync_channel(1);
    thread::spawn(move || {
        let answer = move |headers: HeaderMap, body: String| {
            let status = statuses.pop_front().unwrap_or(204);
            let _gone = sent.send((headers, serde_json::from_str(&body).unwrap()));
            status
        };
        let answer = Arc::new(parking_lot::Mutex::new(answer));
        let router = Router::new().route(
            "/hook",
            post(move |headers: HeaderMap, body: String| {
                let status = answer.lock()(headers, body);
                async move { (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")]) }
            }),
        );
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    (format!("http://{}/hook", address.recv().unwrap()), received)
}

/// An SMTP server that gives these answers to the end of a message, then 250; its address, and what it was sent.
fn mail_server(answers: &[&'static str]) -> (String, Channel<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("smtp://{}", listener.local_addr().unwrap());
    let mut answers: VecDeque<_> = answers.iter().copied().collect();
    let (sent, received) = sync_channel(100);
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let accepted = "250 taken";
            let answer = answers.pop_front().unwrap_or(accepted);
            let session = converse(connection, answer);
            let _gone = sent.send(session);
        }
    });
    (address, received)
}

/// One SMTP session: what the client said.
fn converse(connection: TcpStream, answer: &str) -> String {
    let mut lines = BufReader::new(connection.try_clone().unwrap());
    let mut writer = connection;
    let mut said = String::new();
    let mut in_data = false;
    writer.write_all(b"220 test\r\n").unwrap();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            return said;
        }
        said.push_str(&line);
        let reply = match (in_data, line.trim_end()) {
            (true, ".") => {
                in_data = false;
                answer
            }
            (true, _) => continue,
            (false, "DATA") => {
                in_data = true;
                "354 go on"
            }
            (false, "QUIT") => "221 bye",
            (false, _) => "250 ok",
        };
        let _gone = writer.write_all(format!("{reply}\r\n").as_bytes());
    }
}

fn mail_settings(url: &str) -> AlertSettings {
    AlertSettings {
        smtp_url: Some(url.parse().unwrap()),
        alert_mail_from: Some("tidegate@example.com".into()),
        ..AlertSettings::default()
    }
}

const RULE_ALERT: &str = "- {name: denied, rule: partner, denials: 3, window: 1m, webhook: URL}\n";

#[test]
fn a_webhook_that_fails_at_first_gets_the_message_at_last() {
    let (url, received) = web_server(&[503, 500, 429]);
    let mut scene = Scene::new(&RULE_ALERT.replace("URL", &url), AlertSettings::default());
    scene.ask("acme", 4);
    assert_eq!((scene.tick(), scene.tick()), (1, 0));
    let waited = scene.send_all().as_millis_ceil();
    assert!((3_500..=7_000).contains(&waited), "1 s, 2 s and 4 s, each up to half less: {waited} ms");
    assert_eq!(scene.counts(), (1, vec![1, 3, 0, 0]));
    let bodies: Vec<_> = received.try_iter().map(|(_, body)| body).collect();
    assert!(bodies.len() == 4 && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(
        bodies[0],
        serde_json::json!({
            "version": 1,
            "at": "2023-11-14T22:13:21.000Z",
            "instance": {"host": "gw-1", "id": "00c0ffee"},
            "alert": "denied",
            "domain": "api",
            "rule": "api.partner",
            "entry": null,
            "denials": 3,
            "threshold": 3,
            "window_seconds": 60.0,
            "denials_since_last_message": 3,
            "messages_suppressed": 0,
            "text": "denied: 3 checks denied within 1m by rule api.partner at gw-1",
        })
    );
}

#[test]
fn a_webhook_that_never_answers_well_is_given_up() {
    // 307 is not followed: the body would go to any host that it names.
    for (status, attempts) in [(404, 1), (401, 1), (307, 1), (500, 10)] {
        let (url, received) = web_server(&[status; 20]);
        let mut scene = Scene::new(&RULE_ALERT.replace("URL", &url), AlertSettings::default());
        scene.ask("acme", 4);
        scene.tick();
        scene.send_all();
        assert_eq!(scene.counts(), (1, vec![0, attempts - 1, 1, 0]), "{status}");
        assert_eq!(received.try_iter().count() as u64, attempts, "{status}");
    }
}

#[test]
fn a_receiver_that_is_not_there_is_tried_and_holds_up_no_other() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (url, received) = web_server(&[]);
    let alerts = [format!("http://{nobody}/"), url].map(|url| RULE_ALERT.replace("URL", &url));
    let mut scene = Scene::new(&alerts.concat().replacen("denied", "first", 1), AlertSettings::default());
    scene.ask("acme", 4);
    assert_eq!(scene.tick(), 2);
    while scene.sender.send_one(scene.now) {}
    assert_eq!(received.try_iter().count(), 1);
    scene.send_all();
    assert_eq!(scene.counts(), (2, vec![1, 9, 1, 0]));
}

#[test]
fn entries_are_reported_with_their_value_and_the_repeat_interval_is_kept() {
    let (url, received) = web_server(&[]);
    let alerts = "- {name: partner, denials: 3, window: 1m, repeat_interval: 5s, per: {entry: partner}}\n";
    let settings = AlertSettings { alert_webhook: Some(url.parse().unwrap()), ..AlertSettings::default() };
    let mut scene = Scene::new(alerts, settings);
    for second in 0..7 {
        scene.ask("acme", 4);
        scene.ask(if second % 2 == 0 { "bolt" } else { "core" }, 1);
        scene.tick();
        scene.send_all();
    }
    let numbers = |body: Value| {
        let of = |name: &str| body[name].as_u64().unwrap();
        let value = body["entry"]["value"].as_str().unwrap().to_owned();
        (value, of("denials"), of("denials_since_last_message"), of("messages_suppressed"))
    };
    let reported: Vec<_> = received.try_iter().map(|(_, body)| numbers(body)).collect();
    let expected = [("acme", 3, 3, 0), ("acme", 4, 20, 4), ("bolt", 3, 3, 0)];
    assert_eq!(
        reported,
        expected.map(|(value, n, since, repeat_interval)| (value.to_owned(), n, since, repeat_interval))
    );
}

#[test]
fn secrets_come_from_files_and_are_in_no_message() {
    let (url, received) = web_server(&[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let secret = format!("@{}", file.display()).parse().unwrap();
    let settings = AlertSettings { alert_webhook: Some(secret), ..AlertSettings::default() };
    let mut scene = Scene::new("- {name: a, denials: 1, window: 1m}\n", settings.clone());
    scene.ask("acme", 2);
    scene.tick();
    scene.send_all();
    let (headers, body) = received.try_recv().unwrap();
    assert_eq!(headers["content-type"], "application/json");
    let webhook = scene.receiver(&settings);
    for shown in [body.to_string(), format!("{settings:?}"), format!("{webhook} {webhook:?}")] {
        assert!(!shown.contains(&url), "{shown}");
    }
}

#[test]
fn a_variable_that_is_not_set_is_reported_and_given_up() {
    let alerts = "- {name: a, denials: 1, window: 1m, webhook: {url_env: TIDEGATE_ALERT_NOT_SET}}\n";
    let mut scene = Scene::new(alerts, AlertSettings::default());
    scene.ask("acme", 2);
    scene.tick();
    scene.send_all();
    assert_eq!(scene.counts(), (1, vec![0, 0, 1, 0]));
    let receiver = scene.receiver(&AlertSettings::default());
    assert_eq!(receiver.lacks(&AlertSettings::default()).unwrap(), "TIDEGATE_ALERT_NOT_SET is not set");
}

/// Neither handshake can succeed, and neither may end the thread.
#[test]
fn servers_that_cannot_speak_tls_are_tried_again() {
    let (url, _said) = mail_server(&[]);
    let host = url.strip_prefix("smtp://").unwrap();
    let alerts =
        format!("- {{name: a, denials: 1, window: 1m, webhook: 'https://{host}/', mail: {{to: a@example.com}}}}\n");
    let mut scene = Scene::new(&alerts, mail_settings(&format!("smtps://{host}")));
    scene.ask("acme", 2);
    scene.tick();
    assert!(scene.sender.send_one(scene.now) && scene.sender.send_one(scene.now));
    assert_eq!((scene.counts(), scene.sender.waiting()), ((1, vec![0, 2, 0, 0]), 2));
}

#[test]
fn mail_goes_out_again_when_the_server_says_later() {
    let (url, received) = mail_server(&["451 later"]);
    let alerts = "- {name: denied, denials: 3, window: 1m, mail: {to: [ops@example.com, dev@example.com]}}\n";
    let mut scene = Scene::new(alerts, mail_settings(&url));
    scene.ask("acme", 4);
    scene.tick();
    scene.send_all();
    assert_eq!(scene.counts(), (1, vec![1, 1, 0, 0]));
    let sessions = [received.recv().unwrap(), received.recv().unwrap()];
    for line in [
        "MAIL FROM:<tidegate@example.com>",
        "RCPT TO:<ops@example.com>",
        "RCPT TO:<dev@example.com>",
        "Subject: [tidegate] denied by rule api.partner at gw-1",
        "    \"id\": \"00c0ffee\"",
        "To: ops@example.com, dev@example.com",
        "Auto-Submitted: auto-generated",
        "denied: 3 checks denied within 1m by rule api.partner at gw-1",
    ] {
        assert!(sessions[1].lines().any(|said| said == line), "no {line:?} in\n{}", sessions[1]);
    }
}

#[test]
fn mail_that_the_server_rejects_is_given_up() {
    let (url, _received) = mail_server(&["554 never"]);
    let alerts = "- {name: denied, denials: 3, window: 1m, mail: {to: ops@example.com, from: a@example.com}}\n";
    for settings in [mail_settings(&url), mail_settings("smtp:/x:hunter2@"), AlertSettings::default()] {
        let mut scene = Scene::new(alerts, settings);
        scene.ask("acme", 4);
        scene.tick();
        scene.send_all();
        assert_eq!(scene.counts(), (1, vec![0, 0, 1, 0]));
    }
}

#[test]
fn alerts_per_rule_are_exact_when_the_denials_are_not() {
    let (url, received) = web_server(&[]);
    let mut scene = Scene::new(&RULE_ALERT.replace("URL", &url).replace(": 3", ": 5000"), AlertSettings::default());
    scene.ask("acme", 5_000);
    assert_eq!(scene.tick(), 0, "4,999 denials");
    scene.ask("acme", 1);
    assert_eq!(scene.tick(), 1);
    scene.send_all();
    assert_eq!(received.recv().unwrap().1["denials"], 5_000);
}

#[test]
fn what_was_denied_before_there_was_an_alert_does_not_count() {
    let mut scene = Scene::new("  []\n", AlertSettings::default());
    scene.ask("acme", 100);
    scene.tick();
    scene.configure("- {name: a, denials: 3, window: 1m, webhook: 'http://127.0.0.1:1/'}\n");
    assert_eq!(scene.tick(), 0);
    scene.ask("acme", 3);
    assert_eq!(scene.tick(), 1);
}

#[test]
fn the_threads_end_when_they_are_dropped() {
    let limiter = Arc::new(Limiter::new(Settings::default()));
    let alerts = Alerts::start(limiter, Arc::new(Clock::start()), AlertSettings::default(), instance()).unwrap();
    assert_eq!(alerts.counts().fired(), 0);
    drop(alerts);
}
