//! `/metrics` that nobody reads.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::TestServer;
use crate::server::DEADLINE;

#[test]
fn a_hundred_scrapers_that_do_not_read_share_one_text() {
    let mut rules = String::from("domain: api\ndescriptors:\n");
    for rule in 0..20_000 {
        writeln!(rules, "- {{key: k, value: v{rule}, rate_limit: {{unit: day, requests_per_unit: 10}}}}").unwrap();
    }
    let server = TestServer::start(&rules, &[]);
    let (status, text) = server.http("GET", "/metrics", b"");
    assert_eq!(status, 200);
    let resident = server.resident_bytes();
    let scrapers: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.http).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            // The answer has begun.
            stream.read_exact(&mut [0; 15]).unwrap();
            stream
        })
        .collect();
    let grown = server.resident_bytes().saturating_sub(resident);
    let most = 6 * u64::try_from(text.len()).unwrap() + (64 << 20);
    assert!(grown < most, "{grown} bytes for 100 scrapers of {} bytes", text.len());
    // A client that reads gets all of it.
    let (status, text) = server.http("GET", "/metrics", b"");
    assert_eq!(status, 200);
    assert!(text.contains("tidegate_counters "), "{} bytes", text.len());
    drop(scrapers);
}
