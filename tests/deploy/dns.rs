//! The DNS of a cluster: the addresses of the pods of one headless Service.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::server::Stopwatch;

/// A name server on a port of its own.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    name: String,
    /// How old an answer may be.
    cached: Duration,
    since: Stopwatch,
    /// The addresses, and since when they are these; the newest last.
    versions: Mutex<Vec<(Duration, Vec<Ipv4Addr>)>>,
    ends: AtomicBool,
}

impl Dns {
    /// Serves `name` with these addresses. An answer is always as old as a cache between may make it.
    pub(crate) fn start(name: &str, cached: Duration, addresses: Vec<Ipv4Addr>) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let state = Arc::new(State {
            name: name.to_owned(),
            cached,
            since: Stopwatch::start(),
            versions: Mutex::new(vec![(Duration::ZERO, addresses)]),
            ends: AtomicBool::new(false),
        });
        let (address, serving) = (socket.local_addr().unwrap(), Arc::clone(&state));
        let thread = Some(thread::spawn(move || serving.serve(&socket)));
        Self { address, state, thread }
    }

    /// From now on, these are the addresses.
    pub(crate) fn set(&self, addresses: Vec<Ipv4Addr>) {
        self.state.versions.lock().unwrap().push((self.state.since.elapsed(), addresses));
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

impl State {
    fn serve(&self, socket: &UdpSocket) {
        let mut query = [0; 512];
        while !self.ends.load(Ordering::Relaxed) {
            let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
            if let Some(answer) = self.answer(&query[..length]) {
                let _gone = socket.send_to(&answer, client);
            }
        }
    }

    /// RFC 1035, 4.1: one question, which is repeated, and an A record for each address.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (mut name, mut at) = (Vec::new(), 12);
        while query.get(at)? != &0 {
            let end = at + 1 + usize::from(query[at]);
            name.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_lowercase());
            at = end;
        }
        let question = query.get(12..at + 5)?;
        let is_ours = name.join(".") == self.name;
        let addresses = if is_ours && question.ends_with(&A_IN) { self.addresses() } else { Vec::new() };
        let no_such_name = if is_ours { 0 } else { 3 };
        let count = u8::try_from(addresses.len()).unwrap();
        // The query's number; an answer with authority; one question, the records.
        let mut answer = vec![query[0], query[1], 0x85, 0x80 | no_such_name, 0, 1, 0, count, 0, 0, 0, 0];
        answer.extend(question);
        for address in addresses {
            // The name is that at offset 12.
            answer.extend([&[0xc0, 12], A_IN.as_slice(), &TTL_S.to_be_bytes(), &[0, 4], &address.octets()].concat());
        }
        Some(answer)
    }

    fn addresses(&self) -> Vec<Ipv4Addr> {
        let now = self.since.elapsed();
        let versions = self.versions.lock().unwrap();
        let seen = versions.iter().rev().find(|(since, _)| since.is_zero() || *since + self.cached <= now);
        seen.unwrap().1.clone()
    }
}

/// Type A, class IN.
const A_IN: [u8; 4] = [0, 1, 0, 1];
/// That of CoreDNS for Services, unless it is set.
const TTL_S: u32 = 5;
