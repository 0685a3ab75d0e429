//! The dashboard: its files, its data, who may see what of it, and the page in a real browser.

mod appearance;
mod data;
mod many;
mod open_pages;
mod scopes;
mod shown;
mod token;
pub(crate) mod webdriver;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::TestServer;
use crate::server::{DEADLINE, http, run};

/// A GET request to the admin port with these headers: the status, the headers in lower case, and the body.
pub(super) fn get(server: &TestServer, path: &str, headers: &str) -> (u16, String, String) {
    let (head, mut reader) = open(server, path, headers);
    let mut body = String::new();
    let _ended = reader.read_to_string(&mut body);
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body)
}

/// The answer to such a request as JSON.
pub(super) fn get_json(server: &TestServer, path: &str, headers: &str) -> (u16, Value) {
    let (status, _, body) = get(server, path, headers);
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {status} {body}")))
}

/// The headers of an answer, and its body as it arrives, over HTTP/1.0, which has no chunks.
fn open(server: &TestServer, path: &str, headers: &str) -> (String, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(&server.admin).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n{headers}\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{path}: {head}");
    }
    (head, reader)
}

/// The events of a page.
pub(super) struct Events {
    status: u16,
    head: String,
    reader: BufReader<TcpStream>,
}

impl Events {
    pub(super) fn open(server: &TestServer, query: &str, headers: &str) -> Self {
        let (head, reader) = open(server, &format!("/api/v1/usage/events{query}"), headers);
        Self { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head: head.to_ascii_lowercase(), reader }
    }

    /// The data of the next event; `None`: the stream has ended.
    pub(super) fn next(&mut self) -> Option<Value> {
        let mut data = None;
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                None if data.is_some() => return data,
                _ => {}
            }
        }
    }

    /// The first event of which this is so.
    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..EVENTS {
            let event = self.next().unwrap_or_else(|| panic!("the events ended before {what}"));
            if is_so(&event) {
                return event;
            }
        }
        panic!("not within {EVENTS} events: {what}");
    }
}

/// More than come before a deadline at ten a second.
const EVENTS: usize = 300;

/// One check of a domain with one descriptor of one entry, over `/json`: whether it was admitted.
pub(super) fn check(server: &TestServer, domain: &str, key: &str, value: &str) -> bool {
    let entries = json!([{"key": key, "value": value}]);
    let body = json!({"domain": domain, "descriptors": [{"entries": entries}]}).to_string();
    let (status, answer) = http(&server.http, "POST", "/json", body.as_bytes());
    assert!(status == 200 || status == 429, "{status}: {answer}");
    status == 200
}

/// Runs a command for operators. It waits for long: the admin port has the lowest priority.
pub(super) fn operate(server: &TestServer, args: &[&str]) {
    let address = format!("http://{}", server.admin);
    let (status, _, error) = run(&[args, &["--admin-addr", &address, "--timeout", "60s"]].concat(), "");
    assert_eq!(status, Some(0), "{args:?}: {error}");
}

/// A number of an event, by its path; what is left out is 0.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// How long a page that is not read may live, and longer than the server needs to notice.
const DROPPED_WITHIN: Duration = Duration::from_secs(90);
