//! A blocking HTTP/1.1 client, small because it must send what a well-behaved one would decline to: raw bytes in headers.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// One keep-alive connection, opened again when the peer has closed it.
pub(crate) struct Client {
    peer: SocketAddr,
    open: Option<BufReader<TcpStream>>,
}

/// A request header; the value is sent as it is.
pub(crate) type Header<'a> = (&'a str, &'a [u8]);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// The only value of a header, if it is there; two of the same name fail the test.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "a second {name} in {self:?}");
        value
    }

    /// A header that must be there and be a number.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is no number in {self:?}"))
    }
}

impl Client {
    pub(crate) fn to(peer: SocketAddr) -> Self {
        Self { peer, open: None }
    }

    /// Sends one GET request and reads its answer.
    pub(crate) fn get(&mut self, path: &str, headers: &[Header]) -> Reply {
        self.try_get(path, headers).unwrap_or_else(|error| panic!("no answer to GET {path}: {error}"))
    }

    /// As [`get`](Self::get), but no answer is an answer too.
    pub(crate) fn try_get(&mut self, path: &str, headers: &[Header]) -> io::Result<Reply> {
        let mut connection = self.open.take().map_or_else(|| connect(self.peer), Ok)?;
        connection.get_mut().write_all(&request(path, headers))?;
        let reply = read_reply(&mut connection)?;
        if reply.header("connection") != Some("close") {
            self.open = Some(connection);
        }
        Ok(reply)
    }
}

/// How many answers came with each status; 0 stands for no answer.
pub(crate) type Stats = BTreeMap<u16, usize>;

/// Sends `clients` requests, all at once, each over a connection of its own that is already open.
pub(crate) fn volley(peer: SocketAddr, clients: usize, headers: &[Header]) -> Stats {
    let ready = Barrier::new(clients);
    thread::scope(|scope| {
        let send = || {
            let mut client = Client { peer, open: connect(peer).ok() };
            ready.wait();
            client.try_get("/", headers).map_or(0, |reply| reply.status)
        };
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(send)).collect();
        tally(all.into_iter().map(|thread| thread.join().unwrap()))
    })
}

/// Counts statuses.
pub(crate) fn tally(statuses: impl IntoIterator<Item = u16>) -> Stats {
    let mut tally = Stats::new();
    for status in statuses {
        *tally.entry(status).or_default() += 1;
    }
    tally
}

fn connect(peer: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&peer, DEADLINE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(BufReader::new(stream))
}

fn request(path: &str, headers: &[Header]) -> Vec<u8> {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: tidegate.test\r\n").into_bytes();
    for (name, value) in headers {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    request
}

fn read_reply(connection: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let status_line = read_line(connection)?;
    let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| bad(&status_line))?;
    let mut reply = Reply { status, headers: Vec::new(), body: String::new() };
    loop {
        let line = read_line(connection)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
        reply.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    reply.body = read_body(connection, &reply)?;
    Ok(reply)
}

fn read_body(connection: &mut BufReader<TcpStream>, reply: &Reply) -> io::Result<String> {
    let mut body = Vec::new();
    if reply.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = read_line(connection)?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| bad(&size))?;
            read_exactly(connection, size, &mut body)?;
            read_line(connection)?;
            if size == 0 {
                break;
            }
        }
    } else {
        let size = reply.header("content-length").unwrap_or("0");
        read_exactly(connection, size.parse().map_err(|_| bad(size))?, &mut body)?;
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn read_exactly(connection: &mut BufReader<TcpStream>, size: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let before = body.len();
    body.resize(before + size, 0);
    connection.read_exact(&mut body[before..])
}

fn read_line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    connection.read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Far above every timeout that a test sets in Envoy.
const DEADLINE: Duration = Duration::from_secs(30);
