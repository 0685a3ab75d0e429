//! The example under `deploy/envoy/`: its two files as they are, but for the ports and timeouts.

use std::net::SocketAddr;

use crate::bootstrap::Gateway;
use crate::client::Header;
use crate::lab::Lab;
use crate::server::{ReservedPort, next_minute_if_late};

const ENVOY: &str = include_str!("../../deploy/envoy/envoy.yaml");
const RULES: &str = include_str!("../../deploy/envoy/ratelimit.yaml");

#[test]
fn the_example_does_what_its_readme_says() {
    let service = ReservedPort::new();
    // On a busy machine an answer may take longer than Envoy waits in production; the timeout is not what is tested.
    let envoy = ["timeout: 0.25s", "timeout: 0.5s", "timeout: 1s"].iter().fold(ENVOY.to_owned(), |text, short| {
        assert!(text.contains(short), "the example has no {short}");
        text.replace(short, "timeout: 20s")
    });
    let on_free_ports = move |rls: &[SocketAddr], _: &std::path::Path| {
        let moved = [("9901", 0), ("10000", 0), ("10001", service.port), ("8081", rls[0].port())];
        moved.iter().fold(envoy, |text, (port, to)| {
            let named = format!("port_value: {port}}}");
            assert!(text.contains(&named), "the example has no {named}");
            text.replace(&named, &format!("port_value: {to}}}"))
        })
    };
    let Some(lab) = Lab::open_with(RULES, Gateway::default(), &[], on_free_ports) else { return };
    next_minute_if_late();
    // Headers, requests, of which served, limit shown, the limit's name.
    let cases: [(&[Header], u64, u64, &str); 5] = [
        (&[("x-partner", b"acme")], 7, 5, "5, 5;w=60;name=\"acme\""),
        (&[("x-partner", b"globex")], 20, 20, "100, 100;w=60;name=\"partner\""),
        (
            &[("x-partner", b"initech"), ("x-endpoint", b"/v1/charges"), ("x-tenant", b"t1")],
            6,
            4,
            "4, 100;w=60;name=\"partner\", 10;w=60;name=\"charges\", 4;w=60;name=\"tenant\"",
        ),
        (
            // Charges the 10 per minute a second time; the 6 requests above were charged too, denied or not.
            &[("x-partner", b"initech"), ("x-endpoint", b"/v1/charges")],
            6,
            4,
            "10, 100;w=60;name=\"partner\", 10;w=60;name=\"charges\"",
        ),
        (&[("x-partner", b"initech"), ("x-endpoint", b"/v1/refunds")], 10, 10, "100, 100;w=60;name=\"partner\""),
    ];
    let mut client = lab.client();
    for (headers, requests, served, limit) in cases {
        for i in 0..requests {
            let reply = client.get("/", headers);
            assert_eq!(reply.status, if i < served { 200 } else { 429 }, "request {i}: {reply:?}");
            assert_eq!(reply.header("x-ratelimit-limit"), Some(limit), "{reply:?}");
            assert_eq!(reply.header("retry-after").is_some(), i >= served, "{reply:?}");
        }
    }
    assert_eq!(client.get("/", &[]).status, 200, "a request without a partner is not limited");
    assert_eq!(lab.envoy.rls_errors(), 0);
}
