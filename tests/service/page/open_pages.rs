//! The number of open pages, and pages that are not read.

use std::io::Write;
use std::net::TcpStream;

use socket2::{Domain, Socket, Type};

use super::{DROPPED_WITHIN, Events, get_json};
use crate::TestServer;
use crate::server::{THREE_A_MINUTE, eventually, http, wait_for};

/// As many as there may be.
const MAX_PAGES: usize = 32;

fn observers(server: &TestServer) -> u64 {
    server.metric("tidegate_observers")
}

#[test]
fn so_many_pages_and_no_more() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut pages: Vec<_> = (0..MAX_PAGES).map(|_| Events::open(&server, "", "")).collect();
    for page in &mut pages {
        assert!(page.next().is_some());
    }
    assert_eq!(observers(&server), MAX_PAGES as u64);
    let (status, answer) = get_json(&server, "/api/v1/usage/events", "");
    assert_eq!(status, 429, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("at most 32"), "{answer}");
    pages.pop();
    eventually("a page less", || observers(&server) < MAX_PAGES as u64);
    let mut again = Events::open(&server, "", "");
    assert!(again.status == 200 && again.next().is_some());
    drop((pages, again));
    eventually("no page", || observers(&server) == 0);
}

#[test]
fn pages_end_with_the_server() {
    let mut server = TestServer::start(THREE_A_MINUTE, &["--drain", "0s"]);
    let mut page = Events::open(&server, "?interval=100ms", "");
    page.next().unwrap();
    server.signal("TERM");
    while page.next().is_some() {}
    assert!(server.wait().success(), "it did not wait for the page");
}

/// What it is sent fills the buffers in between; then it is dropped, and its place is free.
#[test]
fn a_page_that_is_not_read_is_dropped() {
    let rules = (0..3_000).map(|number| {
        format!("- {{key: k, value: a-long-value-that-fills-the-buffers-of-a-connection-{number}, rate_limit: {{unit: hour, requests_per_unit: 9}}}}\n")
    });
    let rules = format!("domain: api\ndescriptors:\n{}", rules.collect::<String>());
    let server = TestServer::start(&rules, &[]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // The smallest one there is.
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&server.admin_addr().into()).unwrap();
    let mut unread: TcpStream = socket.into();
    unread.write_all(b"GET /api/v1/usage/events?interval=100ms HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    eventually("the page", || observers(&server) == 1);
    let reload = |requests: u64| {
        // Each change of all limits sends all rules again.
        let changed = rules.replace("requests_per_unit: 9", &format!("requests_per_unit: {requests}"));
        std::fs::write(server.dir.path().join("rules.yaml"), changed).unwrap();
        server.signal("HUP");
    };
    let mut requests = 10;
    wait_for("the page is dropped", DROPPED_WITHIN, || {
        requests += 1;
        reload(requests);
        std::thread::sleep(std::time::Duration::from_millis(200));
        (observers(&server) == 0).then_some(())
    });
    assert_eq!(http(&server.admin, "GET", "/livez", b"").0, 200);
    drop(unread);
}
