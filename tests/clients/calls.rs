//! What clients get that behave, that send much, that change their minds, and that do not wait.

use crate::commands::{each, expect};
use crate::until_delayed;

#[test]
fn checks_health_and_reflection_are_answered() {
    each(&[], |client, _| {
        expect(
            client,
            &[
                ("check few v", "OK"),
                ("check few v", "OK"),
                ("check few v", "OVER_LIMIT"),
                ("check free v 60000", "OK"),
                ("check unknown v", "OK"),
                ("health", "SERVING"),
                ("health ratelimit", "SERVING"),
                ("health nobody", "NOT_FOUND"),
                ("watch", "SERVING"),
                ("unwatch", "CANCELLED"),
            ],
        );
        let services = client.ask("services");
        for name in ["envoy.service.ratelimit.v3.RateLimitService", "grpc.health.v1.Health", "grpc.reflection.v1"] {
            assert!(services.contains(name), "no {name} in {services}");
        }
        expect(client, &[("check free v", "OK")]);
    });
}

/// Up to the bounds on descriptors and bytes, and one more of each.
#[test]
fn large_messages_are_answered_and_too_large_ones_rejected() {
    each(&[], |client, _| {
        expect(
            client,
            &[
                ("large 300 20", "OK 300"),
                ("large 1000 4000", "OK 1000"),
                ("large 1001 1", "INVALID_ARGUMENT"),
                // With 26 bytes around it: 4 MiB.
                ("large 1 4194278", "OK 1"),
                ("large 1 4194279", "OUT_OF_RANGE"),
                ("check free v", "OK"),
            ],
        );
    });
}

#[test]
fn cancelled_calls_give_up_their_place_and_the_others_keep_theirs() {
    each(&[], |client, server| {
        expect(client, &[("check never v", "OK"), ("hold 20 never", "held")]);
        until_delayed(server, 20);
        expect(client, &[("cancel 15", "CANCELLED 15")]);
        until_delayed(server, 5);
        expect(client, &[("check free v", "OK"), ("health", "SERVING"), ("cancel 5", "CANCELLED 5")]);
        until_delayed(server, 0);
    });
}

#[test]
fn calls_whose_deadline_expires_fail_alone() {
    each(&[], |client, server| {
        expect(client, &[("check free v", "OK"), ("watch 300", "SERVING"), ("next", "DEADLINE_EXCEEDED")]);
        server.pause();
        for _ in 0..3 {
            expect(client, &[("check free v 50", "DEADLINE_EXCEEDED")]);
        }
        server.signal("CONT");
        expect(client, &[("check free v", "OK"), ("check free v 60000", "OK")]);
    });
}
