//! Peers that occupy connections.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::closed;
use super::legitimate::{Legitimate, RULES};
use crate::TestServer;
use crate::frames::{PING, SETTINGS, Wire, frame, is_acknowledged};
use crate::health::is_serving;
use crate::server::{DEADLINE, eventually, http, wait_for};

#[test]
fn idle_peers_on_every_slot_make_way() {
    let server = TestServer::start(RULES, &["--max-connections", "50", "--workers", "1"]);
    let legitimate = Legitimate::start(&server.grpc);
    let _idle: Vec<_> = (0..48).map(|_| Wire::preface(&server.grpc, &[])).collect();
    // Some seconds have to pass before they are idle.
    eventually("a slot of an idle peer", || {
        let Ok(mut stream) = TcpStream::connect(&server.grpc) else { return false };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let hello =
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[]), &frame(PING, 0, 0, b"tidegate")];
        stream.write_all(&hello.concat()).is_ok() && is_acknowledged(&mut stream)
    });
    assert!(closed(&server, "grpc", "idle") >= 1);
    legitimate.stop();
}

#[test]
fn the_pages_make_way_too() {
    let server = TestServer::start(RULES, &["--max-connections", "20"]);
    for (port, address) in [("admin", &server.admin), ("http", &server.http)] {
        let idle: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                // One request, after which the connection stays.
                stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.read_exact(&mut [0; 15]).unwrap();
                stream
            })
            .collect();
        let answer = wait_for("a slot of an idle connection", DEADLINE, || {
            std::panic::catch_unwind(|| http(address, "GET", "/livez", b"")).ok()
        });
        assert_eq!(answer.0, 200, "{port}");
        drop(idle);
        eventually("the count", || closed(&server, port, "idle") >= 1);
    }
}

#[tokio::test]
async fn one_client_has_no_more_connections_than_it_may_have() {
    let server = TestServer::start(RULES, &["--max-connections-per-client", "3", "--workers", "2"]);
    for (port, address) in [("grpc", &server.grpc), ("admin", &server.admin)] {
        let mut held: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut rejected = TcpStream::connect(address).unwrap();
        rejected.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(rejected.read(&mut [0; 1]).unwrap_or(0), 0, "{port}");
        assert_eq!(closed(&server, port, "per_client"), 1);
        held.pop();
        drop(held);
    }
    assert!(is_serving(&server.grpc).await);
}
