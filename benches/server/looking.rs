//! People who look on while checks are answered: one page of the dashboard, and one `tidegate top`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::contender::Server;
use crate::cores;
use crate::load::TIDEGATE;

/// One page and one view in a terminal; dropping it closes both.
pub(crate) struct Looking {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    top: Child,
}

impl Looking {
    /// Opens both, and waits until each has been sent a report.
    pub(crate) fn start(server: &Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut events = BufReader::new(request(&server.admin, "/api/v1/usage/events"));
        until(&mut events, b"event: usage");
        let mut top = top(&server.admin);
        let mut screen = BufReader::new(top.stdout.take().unwrap());
        until(&mut screen, b"checks ");
        let read = |mut from: Box<dyn Read + Send>| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                cores::stay_on(GENERATOR);
                let mut buffer = vec![0; 64 << 10];
                while !stop.load(Ordering::Relaxed) && from.read(&mut buffer).is_ok_and(|count| count > 0) {}
            })
        };
        let mut threads = vec![read(Box::new(events)), read(Box::new(screen))];
        let (admin, stopped) = (server.admin.clone(), Arc::clone(&stop));
        threads.push(thread::spawn(move || poll(&admin, &stopped)));
        Self { stop, threads, top }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ended = self.top.kill();
        let _status = self.top.wait();
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// The view in a terminal of 120 x 40.
fn top(admin: &str) -> Child {
    let line = format!("stty rows 40 cols 120; exec {TIDEGATE} top --admin-addr {admin} --timeout 60s");
    let mut command = cores::on(&GENERATOR, "script");
    command.args(["-q", "-e", "-f", "-c", &line, "/dev/null"]).env("TERM", "xterm-256color");
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    started.unwrap_or_else(|error| panic!("script, of util-linux, which makes a terminal: {error}"))
}

/// What the page asks for besides the events, and every how many seconds it does; after an answer that took long it waits for longer.
const POLLS: [(&str, u64); 6] = [
    ("/api/v1/status", 3),
    ("/api/v1/alerts", 3),
    ("/api/v1/counters?banned=true&top=8", 5),
    ("/api/v1/counters?queued=true&top=8", 5),
    ("/api/v1/settings", 5),
    ("/api/v1/candidate", 5),
];

#[allow(clippy::disallowed_methods, reason = "a page lives in real time")]
fn poll(admin: &str, stop: &AtomicBool) {
    cores::stay_on(GENERATOR);
    let mut due = POLLS.map(|_| Instant::now());
    while !stop.load(Ordering::Relaxed) {
        for ((path, seconds), due) in POLLS.iter().zip(&mut due) {
            let asked = Instant::now();
            if *due <= asked {
                let mut answer = String::new();
                request(admin, path).read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.0 200 "), "{path}: {answer}");
                *due = Instant::now() + Duration::from_secs(*seconds).max(20 * asked.elapsed());
            }
        }
        thread::sleep(STEP);
    }
}

/// A request over HTTP/1.0, whose answer ends with the connection.
fn request(admin: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    stream
}

/// Reads until a text has come.
fn until(from: &mut impl BufRead, text: &[u8]) {
    let mut seen = Vec::new();
    while !seen.windows(text.len()).any(|part| part == text) {
        let part = from.fill_buf().unwrap();
        assert!(!part.is_empty(), "ended before {}: {}", text.escape_ascii(), seen.escape_ascii());
        seen.extend_from_slice(part);
        let length = part.len();
        from.consume(length);
    }
}

/// They run on the generator's core, so that their cost is not counted as the server's.
const GENERATOR: [usize; 1] = [1];
/// For one read: an event comes every second.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Between two looks at what is due.
const STEP: Duration = Duration::from_millis(20);
