//! A wall clock that no calendar has.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::legitimate::RULES;
use crate::TestServer;
use crate::server::DEADLINE;

/// hyper writes the date of each answer, and panics when the wall clock is before 1970 or after 9999, which would end the process.
#[tokio::test]
async fn no_answer_has_a_date() {
    let server = TestServer::start(RULES, &[]);
    for address in [&server.http, &server.admin] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.to_lowercase().contains("\ndate:"), "{answer}");

        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::get("http://localhost/livez").body(()).unwrap();
        let mut requests = requests.ready().await.unwrap();
        let answer = requests.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("date")), (200, None), "{address}");
        connection.abort();
    }
}
