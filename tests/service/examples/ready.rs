//! The files of `deploy/examples`, with the numbers that they promise.

use serde_json::{Value, json};

use super::run::{Answer, Run, read};

/// A ready file, and the answers to its trace.
fn ready(name: &str) -> (Run, Vec<Answer>) {
    let run = fresh(name);
    let answers = run.trace(&read(&format!("deploy/examples/{name}.trace.jsonl")));
    (run, answers)
}

fn fresh(name: &str) -> Run {
    Run::new(&read(&format!("deploy/examples/{name}.yaml")))
}

fn passed(answers: &[Answer]) -> Vec<bool> {
    answers.iter().map(Answer::is_ok).collect()
}

#[test]
fn of_130_at_once_15_pass_100_wait_their_turn_and_15_are_denied() {
    let (run, answers) = ready("queue");
    let (at_one_instant, later) = answers.split_at(130);
    for (i, answer) in (1_u64..).zip(at_one_instant) {
        let turn = i.saturating_sub(15);
        let expected = if i <= 115 { (true, (turn * 1_000).div_ceil(15)) } else { (false, 0) };
        assert_eq!((answer.is_ok(), answer.delay_ms()), expected, "hit {i}");
    }
    assert_eq!(at_one_instant[114].delay_ms(), 6_667);
    assert!(at_one_instant[115..].iter().all(|denied| denied.reset_ms() == 67));
    assert_eq!((later[0].is_ok(), later[0].delay_ms()), (true, 67));
    let other = run.check(&json!({"at": 7, "domain": "queue", "descriptors": [{"entries": [["client", "c2"]]}]}));
    assert_eq!((other.is_ok(), other.delay_ms()), (true, 0));
}

fn tenants(at: f64, [user, tenant, node]: [&str; 3], hits: u64) -> Value {
    let descriptor = |key: &str, value: &str| json!({"entries": [[key, value]], "hits": hits});
    let descriptors = [descriptor("user", user), descriptor("tenant", tenant), descriptor("node", node)];
    json!({"at": at, "domain": "tenants", "descriptors": descriptors})
}

#[test]
fn three_users_of_a_tenant_send_400_each_and_1000_pass() {
    let run = fresh("tenants");
    let users = ["ann", "bob", "cy"];
    let mut admitted = [0; 3];
    let mut denied_by_tenant = 0;
    for i in 0..1_200 {
        let answer = run.check(&tenants(0.0, [users[i % 3], "acme", "n1"], 1));
        if answer.is_ok() {
            admitted[i % 3] += 1;
        } else {
            assert_eq!(answer.codes(), ["OK", "OVER_LIMIT", "OK"], "check {i}");
            denied_by_tenant += 1;
        }
    }
    assert_eq!((admitted.iter().sum::<u64>(), denied_by_tenant), (1_000, 200));
    for (user, admitted) in users.into_iter().zip(admitted) {
        let seen = run.check(&tenants(0.0, [user, "acme", "n1"], 0));
        assert_eq!(seen.remaining(), [500 - admitted, 0, 4_000], "{user}: a denied hit is in a counter");
    }
}

#[test]
fn tenants_with_rules_of_their_own_and_a_node_that_many_exhaust() {
    let (_, answers) = ready("tenants");
    let (acme, rest) = answers.split_at(12);
    assert_eq!(passed(acme), [[true; 10].as_slice(), &[false; 2]].concat());
    assert!(acme[10..].iter().all(|answer| answer.codes() == ["OK", "OVER_LIMIT", "OK"]));
    let (looks, rest) = rest.split_at(3);
    assert_eq!(looks.iter().flat_map(Answer::remaining).collect::<Vec<_>>(), [100, 200, 200]);
    let none = u64::MAX;
    for (answer, (rule, remaining)) in rest.iter().zip([
        ("tenants.tenant_initech", [0, 2_500, 3_500]),
        ("tenants.tenant_initech", [0, 2_000, 3_000]),
        ("tenants.tenant_initech", [0, 1_500, 2_500]),
        ("none", [0, none, 2_000]),
        ("none", [0, none, 1_500]),
        ("none", [0, none, 1_000]),
        ("tenants.tenant_internal", [0, u64::from(u32::MAX), 500]),
        ("tenants.tenant_internal", [0, u64::from(u32::MAX), 0]),
        ("tenants.tenant", [500, 1_000, 0]),
        ("tenants.tenant", [400, 900, 4_900]),
    ]) {
        assert_eq!((answer.rules()[1], answer.remaining()), (rule, remaining.to_vec()), "{answer:?}");
    }
    assert_eq!(passed(rest), [true, true, true, true, true, true, true, true, false, true]);
    assert_eq!(rest[8].codes(), ["OK", "OK", "OVER_LIMIT"]);
}

#[test]
fn a_partner_that_uses_up_an_endpoint_is_banned_for_a_second() {
    let (_, answers) = ready("partners");
    let (window, rest) = answers.split_at(10);
    assert!(window.iter().all(Answer::is_ok));
    assert_eq!(
        (window[0].reset_ms(), window[9].reset_ms()),
        (1_000, 1_000),
        "the window from 0.2 s, the ban from 0.6 s"
    );
    // At 0.9 s the same endpoint, another one, another partner; then at 1.3 s and at 1.6 s.
    assert_eq!(passed(rest), [false, true, true, false, true]);
    assert_eq!((rest[0].reset_ms(), rest[3].reset_ms()), (700, 300));
    assert_eq!(rest[4].remaining(), [9], "a new window");
}

#[test]
fn without_the_ban_the_window_from_the_first_call_ends_after_a_second() {
    let run = Run::limited("unit: second, requests_per_unit: 10, starts: first_request");
    assert!(run.hits("0.2", 1).is_ok());
    assert!(run.hits("0.6", 9).is_ok());
    assert!(!run.hits("1.199999999", 1).is_ok());
    assert_eq!(run.hits("1.2", 1).remaining(), [9]);
}

#[test]
fn thirty_in_thirty_seconds_with_headers_and_a_body() {
    let (_, answers) = ready("headers");
    let reported = |again: &str| {
        format!(
            r#"{{"status":429,"error":"rate limit","message":"Too many requests. Limit to max 30 per 30 seconds. Try again in {again}."}}"#
        )
    };
    let rows = [("29", "18", None), ("0", "15", None), ("0", "12", Some("12 seconds")), ("0", "1", Some("1 second"))];
    for (answer, (remaining, reset, again)) in answers.iter().zip(rows) {
        let mut headers = vec![
            "X-RateLimit-Limit: 30".to_owned(),
            format!("X-RateLimit-Remaining: {remaining}"),
            format!("X-RateLimit-Reset: {reset}"),
        ];
        if again.is_some() {
            headers.extend([format!("Retry-After: {reset}"), "content-type: application/json".to_owned()]);
        }
        assert_eq!(answer.headers(), headers);
        assert_eq!(answer.body(), again.map(reported).unwrap_or_default());
    }
    assert_eq!((answers.len(), answers[4].remaining()), (5, vec![29]));
}

#[test]
fn the_last_sixty_seconds_count_whatever_was_denied() {
    let (_, answers) = ready("last_minute");
    assert_eq!(passed(&answers), [true, true, false, false, true, false, false, true]);
    let key = |at: f64| json!({"at": at, "domain": "last-minute", "descriptors": [{"entries": [["api_key", "k2"]]}]});
    let run = fresh("last_minute");
    // A hit each tenth of a second: 500 until 49.9 s, all later ones denied until the first is 60 s old.
    let passed: Vec<f64> =
        (0..1_200).map(|i| f64::from(i) / 10.0).filter(|at| run.check(&key(100.0 + at)).is_ok()).collect();
    let expected: Vec<f64> = (0..500).chain(600..1_100).map(|i| f64::from(i) / 10.0).collect();
    assert_eq!(passed, expected);
}
