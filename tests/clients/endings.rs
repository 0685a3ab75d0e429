//! GOAWAY, while calls are outstanding: no call is lost.

use crate::commands::{Client, Kind, each, each_but, expect};
use crate::server::{TestServer, eventually};
use crate::{arrived, until_delayed};

/// More than a second's worth of answers are outstanding when the process is to stop.
#[test]
fn what_is_outstanding_when_the_server_stops_is_answered() {
    each(&["--drain", "0s", "--shutdown-deadline", "50s"], |client, server| {
        expect(client, &[("check turn v", "OK"), ("hold 20 turn", "held")]);
        eventually("their arrival", || arrived(server, "turn") == 21);
        server.signal("TERM");
        expect(client, &[("join", "OK 20")]);
        assert_eq!(server.wait().code(), Some(0));
        assert!(!server.log().iter().any(|line| line.contains("deadline")), "{:?}", server.log());
    });
}

/// As behind Envoy: calls go on until the health says so.
#[test]
fn no_call_fails_while_the_server_drains() {
    each(&["--drain", "1s"], |client, server| {
        expect(client, &[("watch", "SERVING"), ("load 4 free", "loaded")]);
        eventually("checks", || arrived(server, "free") > 50);
        server.signal("TERM");
        expect(client, &[("next", "NOT_SERVING")]);
        all_ok(&client.ask("stop"));
        assert_eq!(server.wait().code(), Some(0));
    });
}

/// Connections end all the time, with calls outstanding on each, some of them delayed.
#[test]
fn no_call_fails_when_connections_reach_their_age() {
    // The C core opens the window of each new stream. When that is one that came after the GOAWAY, the h2 crate (0.4.20) calls it idle, says
    // PROTOCOL_ERROR, and cuts everything off.
    let cut_off = [("h2", Kind::Python)];
    each_but(&cut_off, &["--max-connection-age", "100ms", "--max-connection-age-grace", "50s"], |client, server| {
        expect(client, &[("check turn v", "OK"), ("hold 10 turn", "held")]);
        eventually("their arrival", || arrived(server, "turn") == 11);
        expect(client, &[("load 4 free", "loaded")]);
        until_delayed(server, 0);
        many(client, server);
        all_ok(&client.ask("stop"));
        expect(client, &[("join", "OK 10"), ("health", "SERVING")]);
    });
}

/// Waits until some hundreds of checks more have arrived, over a second's worth of connections.
fn many(client: &mut dyn Client, server: &TestServer) {
    let before = arrived(server, "free");
    eventually("some more checks", || arrived(server, "free") > before + 200);
    expect(client, &[("health", "SERVING")]);
}

#[track_caller]
fn all_ok(outcomes: &str) {
    let count: usize = outcomes.strip_prefix("OK ").and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(count > 50, "{outcomes}");
}
