//! `alerts` in rules files: what they say, and what is rejected.

use tidegate::rules::{Alert, LoadOptions, Mail, Per, RuleSet, SourceFile, Target, Webhook, load};
use tidegate::units::Nanos;

fn read(files: &[(&str, &str)]) -> Result<RuleSet, Vec<String>> {
    let file = |(name, text): &(&str, &str)| SourceFile { name: (*name).into(), text: text.as_bytes().to_vec() };
    let files: Vec<_> = files.iter().map(file).collect();
    load(&files, LoadOptions { merge_domains: true, ..LoadOptions::default() })
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// A domain with one rule, and one alert that has these lines (the first of them is line 5).
fn file(alert: &str) -> String {
    let rule = "descriptors:\n- {key: partner, rate_limit: {unit: second, requests_per_unit: 1}}";
    format!("domain: api\n{rule}\nalerts:\n- {}\n", alert.replace('\n', "\n  "))
}

fn alert(lines: &str) -> Alert {
    let rules = read(&[("f", &file(lines))]).unwrap_or_else(|errors| panic!("{errors:?}\n{lines}"));
    rules.domain("api").unwrap().alerts[0].clone()
}

#[test]
fn the_least_that_an_alert_says() {
    let expected = Alert {
        name: "a".into(),
        rule: None,
        per: Per::Rule,
        denials: 100,
        window: Nanos::from_secs(60),
        repeat_interval: Nanos::from_secs(60),
        webhook: None,
        mail: None,
    };
    assert_eq!(alert("name: a\ndenials: 100\nwindow: 1m"), expected);
}

#[test]
fn all_that_an_alert_may_say() {
    let text = "name: a
rule: partner
per: {entry: partner}
denials: 1
window: 1s
repeat_interval: 1h
webhook:
  url_env: TIDEGATE_ALERT_URL
  headers_env: {Authorization: TIDEGATE_ALERT_TOKEN}
mail: {to: [a@example.com, b@example.com], from: c@example.com}";
    let expected = Alert {
        name: "a".into(),
        rule: Some("api.partner".into()),
        per: Per::Entry("partner".into()),
        denials: 1,
        window: Nanos::SECOND,
        repeat_interval: Nanos::from_secs(3_600),
        webhook: Some(Webhook {
            target: Target::Variable("TIDEGATE_ALERT_URL".into()),
            headers: vec![("authorization".into(), "TIDEGATE_ALERT_TOKEN".into())],
        }),
        mail: Some(Mail {
            to: vec!["a@example.com".into(), "b@example.com".into()],
            from: Some("c@example.com".into()),
        }),
    };
    assert_eq!(alert(text), expected);
}

#[test]
fn short_forms() {
    let least = "name: a\ndenials: 1\nwindow: 1m\n";
    for rule in ["partner", "api.partner"] {
        assert_eq!(alert(&format!("{least}rule: {rule}")).rule.unwrap(), "api.partner");
    }
    assert_eq!(alert(&format!("{least}per: rule")).per, Per::Rule);
    let url = "https://alerts.example.com/hook?x=1";
    let webhook = Webhook { target: Target::Url(url.into()), headers: Vec::new() };
    for form in [format!("webhook: {url}"), format!("webhook: {{url: '{url}'}}")] {
        assert_eq!(alert(&format!("{least}{form}")).webhook.as_ref(), Some(&webhook), "{form}");
    }
    let mail = alert(&format!("{least}mail: {{to: ops@example.com}}")).mail.unwrap();
    assert_eq!(mail, Mail { to: vec!["ops@example.com".into()], from: None });
}

#[test]
fn what_is_wrong_with_an_alert_is_reported_with_its_line() {
    let least = "name: a\ndenials: 1\nwindow: 1m\n";
    let cases = [
        ("name: a", "5: an alert needs 'name', 'denials' and 'window'"),
        ("name: a\ndenials: 0\nwindow: 1m", "6: 'denials' must be a whole number from 1 to 4294967295"),
        ("name: a\ndenials: 1\nwindow: 500ms", "7: 'window' must be from 1s to 7d"),
        ("name: ''\ndenials: 1\nwindow: 1m", "5: 'name' must be 1 to 100 bytes of text"),
    ];
    for (text, expected) in cases {
        assert_eq!(read(&[("f", &file(text))]).unwrap_err(), [format!("f:{expected}")], "{text}");
    }
    let more = [
        ("who: me", "8: config error, unknown key 'who'"),
        ("per: partner", "8: 'per' must be rule or {entry: KEY}"),
        ("per: {entry: ''}", "8: 'per' must be rule or {entry: KEY}"),
        ("rule: tenant", "8: alert 'a' names a rule that does not exist: write the path as /rlconfig shows it"),
        ("webhook: ftp://example.com/", URL),
        ("webhook: http://user:hunter2@example.com/", URL),
        ("webhook: /hook", URL),
        ("webhook: {}", "8: 'webhook' must be a map with either url or url_env"),
        (
            "webhook: {url_env: HOME}",
            "8: 'url_env' must be the name of an environment variable that begins with \
          TIDEGATE_ALERT_",
        ),
        (
            "webhook: {url: 'http://a/', headers_env: {Host: TIDEGATE_ALERT_A}}",
            "8: 'headers_env' has a name that is no header, or one that is set already",
        ),
        ("mail: {to: []}", "8: 'mail' must be a map with 'to', 1 to 20 addresses"),
        ("mail: {to: ops}", "8: 'to' must be a mail address such as ops@example.com"),
        ("mail: {to: \"a@b\\nBcc: c@d\"}", "8: 'to' must be a mail address such as ops@example.com"),
        ("mail: ops@example.com", "8: 'mail' must be a map of to and from"),
    ];
    for (text, expected) in more {
        let errors = read(&[("f", &file(&format!("{least}{text}")))]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with(&format!("f:{expected}")), "{text}: {errors:?}");
    }
}

const URL: &str = "8: 'webhook' must be an http or https URL without a password";

/// `/readyz` of the public port and the log show these texts.
#[test]
fn no_error_below_alerts_quotes_what_may_be_a_secret() {
    const SECRET: &str = "hunter2-Sesame";
    for text in [
        "- {name: [SECRET], denials: SECRET, window: SECRET, repeat_interval: SECRET}",
        "- {name: a, denials: 1, window: 1m, rule: SECRET}",
        "- {name: a, denials: 1, window: 1m, rule: [SECRET]}",
        "- {name: a, denials: 1, window: 1m, per: SECRET}",
        "- {name: a, denials: 1, window: 1m, per: {entry: [SECRET]}}",
        "- {name: a, denials: 1, window: 1m, SECRET: 1}",
        "- {name: a, denials: 1, window: 1m, [SECRET]: 1}",
        "- {name: a, denials: 1, window: 1m, webhook: 'http://user:SECRET@example.com/'}",
        "- {name: a, denials: 1, window: 1m, webhook: {url_env: SECRET}}",
        "- {name: a, denials: 1, window: 1m, webhook: {url: SECRET, authorization: SECRET}}",
        "- {name: a, denials: 1, window: 1m, webhook: {url: 'http://a/', headers_env: {authorization: Bearer SECRET}}}",
        "- {name: a, denials: 1, window: 1m, webhook: {url: 'http://a/', headers_env: {'Bearer SECRET': authorization}}}",
        "- {name: a, denials: 1, window: 1m, webhook: {url: 'http://a/', headers_env: SECRET}}",
        "- {name: a, denials: 1, window: 1m, mail: {to: SECRET, from: [SECRET]}}",
        "- {name: a, denials: 1, window: 1m, mail: {to: 'ops@example.com', password: SECRET, SECRET: 1}}",
        "- {name: a, denials: 1, window: 1m, mail: 'smtp://user:SECRET@mail'}",
        "- SECRET",
        "SECRET",
        "{webhook: SECRET}",
    ] {
        let text = format!("domain: api\nalerts:\n  {}\n", text.replace("SECRET", SECRET));
        let errors = read(&[("f", &text)]).unwrap_err();
        assert!(!errors.iter().any(|error| error.contains(SECRET)), "{text}: {errors:?}");
    }
}

#[test]
fn alerts_belong_at_the_top_level_only() {
    let text = "domain: api\ndescriptors:\n- key: a\n  alerts: []\n  rate_limit:\n    unit: day\n    requests_per_unit: 1\n    alerts: []\n";
    let expected = [
        "f:4: 'alerts' is not allowed in a descriptor: it is a key of the top level of a file",
        "f:8: 'alerts' is not allowed in rate_limit: it is a key of the top level of a file",
    ];
    assert_eq!(read(&[("f", text)]).unwrap_err(), expected);
    let keys = "domain: api\ndenials: 1\nwindow: 1m\n";
    assert_eq!(
        read(&[("f", keys)]).unwrap_err(),
        ["f:2: config error, unknown key 'denials'", "f:3: config error, unknown key 'window'"]
    );
    assert_eq!(read(&[("f", "domain: api\nalerts: {}\n")]).unwrap_err(), ["f:2: 'alerts' must be a list of alerts"]);
}

#[test]
fn files_of_one_domain_add_up_and_may_name_each_others_rules() {
    let alert = |name: &str, rule: &str| format!("- {{name: {name}, rule: {rule}, denials: 1, window: 1m}}\n");
    let one = format!("domain: api\nalerts:\n{}", alert("a", "partner"));
    let two = file("{name: b, denials: 1, window: 1m}");
    let rules = read(&[("1", &one), ("2", &two)]).unwrap();
    let names: Vec<_> = rules.domain("api").unwrap().alerts.iter().map(|alert| &*alert.name).collect();
    assert_eq!(names, ["a", "b"]);
    let again = format!("domain: api\nalerts:\n{}{}", alert("a", "partner"), alert("c", "nobody"));
    assert_eq!(
        read(&[("1", &one), ("2", &two), ("3", &again)]).unwrap_err(),
        [
            "3:3: two alerts of domain 'api' have the name 'a': rename one of them",
            "3:4: alert 'c' names a rule that does not exist: write the path as /rlconfig shows it",
        ]
    );
}
