//! What is accepted, and what it means: the reference's files as they are, and every key that only we have.

use tidegate::engine::{Algorithm, Ban, BanWhen, CountDenied, Limit, Queue, QueueMode, Starts};
use tidegate::rules::{
    Body, Charge, HeaderFamily, LoadOptions, Reset, Rule, RuleSet, SourceFile, TemplatePart, Unit, load,
};
use tidegate::units::Nanos;

fn load_files(texts: &[&str]) -> Result<RuleSet, Vec<String>> {
    let names = ('a'..).map(String::from);
    let files: Vec<_> =
        names.zip(texts).map(|(name, text)| SourceFile { name, text: text.as_bytes().to_vec() }).collect();
    load(&files, LoadOptions { merge_domains: true, ..LoadOptions::default() })
        .map_err(|errors| errors.iter().map(|error| format!("{}: {}", error.line, error.message)).collect())
}

#[track_caller]
fn loaded(text: &str) -> RuleSet {
    load_files(&[text]).unwrap_or_else(|errors| panic!("\n{text}\n{errors:#?}"))
}

/// A file with one descriptor that has these lines (the first of them is line 3).
fn descriptor(lines: &str) -> String {
    format!("domain: d\ndescriptors:\n- {}", lines.replace('\n', "\n  "))
}

/// The rule of a `rate_limit` in flow style.
#[track_caller]
fn rule(limit: &str) -> Rule {
    loaded(&descriptor(&format!("key: k\nrate_limit: {{{limit}}}"))).rules()[0].clone()
}

/// The engine's limit of a `rate_limit` in flow style, of 10 per second.
#[track_caller]
fn limit(keys: &str) -> Limit {
    rule(&format!("unit: second, requests_per_unit: 10, {keys}")).limits[0].limit
}

/// Checks the errors of a `rate_limit` in flow style; it is in line 4.
#[track_caller]
fn rejected(limit: &str, expected: &[&str]) {
    let errors = load_files(&[&descriptor(&format!("key: k\nrate_limit: {{{limit}}}"))]).err().unwrap_or_default();
    let expected: Vec<_> = expected.iter().map(|message| format!("4: {message}")).collect();
    assert_eq!(errors, expected, "{limit}");
}

const FIXED: Algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
const SECOND: Limit =
    Limit { max: 10, window: Nanos::SECOND, algorithm: FIXED, ban: None, count_denied: CountDenied::Alone };

#[test]
fn what_the_reference_accepts_is_accepted() {
    for text in [
        "domain: d",
        "domain: d\ndescriptors:",
        "domain: d\ndescriptors: []",
        "domain: 1",
        "domain: yes",
        "domain: d\n---\nnonsense",
        "domain: d\nunit: day\nkey: a\nvalue: [{unit: second}]",
        "domain: d\ndescriptors:\n- key: a\n  domain: e\n  name: x\n  requests_per_unit: 1",
        "domain: d\ndescriptors:\n- key: a\n  rate_limit:",
        "domain: d\ndescriptors:\n- key: a\n  rate_limit: {unlimited: true, unit: foo}",
        "domain: d\ndescriptors:\n- key: a\n  rate_limit: {unlimited: true, unit: unknown}",
        "domain: d\ndescriptors:\n- key: a\n  value: '*'\n  share_threshold: true",
        "domain: d\ndescriptors:\n- key: a*\n  share_threshold: true",
        "domain: d\ndescriptors:\n- key: a\n  metadata: {foo: 0.5}",
        "domain: d\ndescriptors:\n- key: a\n- key: b\n- {key: a, value: b}",
        "domain: x\ndomain: d",
        "domain: d\nmetadata: {1: [0.5]}",
    ] {
        assert_eq!(load_files(&[text]).err(), None, "\n{text}\n");
    }
}

#[test]
fn strings_take_any_scalar_by_its_text() {
    for (value, expected) in [
        ("1", "a_1"),
        ("0x10", "a_0x10"),
        ("yes", "a_yes"),
        ("1_000", "a_1_000"),
        ("2020-01-02", "a_2020-01-02"),
        ("'0.5'", "a_0.5"),
        ("!!str 0.5", "a_0.5"),
        ("~", "a"),
        ("", "a"),
        ("''", "a"),
        ("'~'", "a_~"),
    ] {
        let set = loaded(&descriptor(&format!("key: a\nvalue: {value}\nrate_limit: {{unit: day}}")));
        assert_eq!(set.rules()[0].path, format!("d.{expected}"), "{value}");
    }
}

#[test]
fn units_have_any_case() {
    for (name, unit) in [
        ("second", Unit::Second),
        ("MINUTE", Unit::Minute),
        ("Hour", Unit::Hour),
        ("day", Unit::Day),
        ("week", Unit::Week),
        ("month", Unit::Month),
        ("yEAr", Unit::Year),
    ] {
        let rule = rule(&format!("unit: {name}, requests_per_unit: 10"));
        let limit = &rule.limits[0];
        assert_eq!((limit.period.unit, limit.period.multiplier), (Some(unit), 1), "{name}");
        assert_eq!(limit.limit, Limit { window: unit.length(), ..SECOND }, "{name}");
    }
}

#[test]
fn requests_per_unit() {
    for (text, expected) in
        [("", 0), ("requests_per_unit:", 0), ("requests_per_unit: 0x10", 16), ("requests_per_unit: 1_000", 1000)]
    {
        let rule = rule(&format!("unit: day, {text}"));
        assert_eq!(
            (rule.limits[0].requests_per_unit, rule.limits[0].limit.max, rule.unlimited),
            (expected, expected, false)
        );
    }
    for text in [
        "requests_per_unit: -1",
        "requests_per_unit: -1, unit: day",
        "requests_per_unit: -1, period: 5s",
        "unlimited: true",
    ] {
        let rule = rule(text);
        assert!(rule.unlimited && rule.limits.is_empty(), "{text}");
    }
}

#[test]
fn names_and_replaces() {
    let named = rule("unit: day, name: a, replaces: [{name: b}, {name: c}]");
    assert_eq!((named.limits[0].name.as_str(), named.replaces), ("a", vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(rule("unlimited: true, replaces: [{name: b}]").replaces, ["b"]);
    assert!(rule("unlimited: true, enabled: false, replaces: [{name: b}]").replaces.is_empty());
}

#[test]
fn merged_blocks_add_to_each_other_as_in_the_reference() {
    let set = loaded(
        "domain: d\ndescriptors:\n- &base {key: a, rate_limit: {unit: hour, requests_per_unit: 5}, metadata: {one: 1}}\n\
         - <<: *base\n  key: b\n  rate_limit: {requests_per_unit: 7}\n  metadata: {two: 2}",
    );
    let rule = &set.rules()[1];
    assert_eq!(
        (rule.path.as_str(), rule.limits[0].limit),
        ("d.b", Limit { max: 7, window: Unit::Hour.length(), ..SECOND })
    );
    assert_eq!(rule.metadata, Some(serde_json::json!({"one": 1, "two": 2})));
}

#[test]
fn metadata_keeps_its_types() {
    let text = "key: a\nrate_limit: {unit: day}\nmetadata: {f: 0.5, i: 3, b: yes, none: ~, t: 2020-01-02, l: [1, {m: x}], foo: {bar: {}}}";
    let expected = serde_json::json!({
        "f": 0.5, "i": 3, "b": true, "none": null, "t": "2020-01-02", "l": [1, {"m": "x"}], "foo": {"bar": {}}
    });
    assert_eq!(loaded(&descriptor(text)).rules()[0].metadata, Some(expected));

    let odd_keys =
        "key: a\nrate_limit: {unit: day}\nmetadata: {1: a, on: b, 0x10: c, in: {1: a, on: b, 0x10: c, ~: d, 0.50: e}}";
    let expected = serde_json::json!({
        "1": "a", "on": "b", "0x10": "c", "in": {"1": "a", "true": "b", "16": "c", "<nil>": "d", "0.5": "e"}
    });
    assert_eq!(loaded(&descriptor(odd_keys)).rules()[0].metadata, Some(expected));
    assert_eq!(loaded(&descriptor("key: a\nrate_limit: {unit: day}\nmetadata: {}")).rules()[0].metadata, None);
}

#[test]
fn periods() {
    for (text, unit, multiplier, ms) in [
        ("500ms", None, 1, 500),
        ("30s", Some(Unit::Second), 30, 30_000),
        ("15m", Some(Unit::Minute), 15, 900_000),
        ("1h30m", Some(Unit::Minute), 90, 5_400_000),
        ("7d", Some(Unit::Week), 1, 604_800_000),
        ("30d", Some(Unit::Day), 30, 2_592_000_000),
    ] {
        let rule = rule(&format!("period: {text}, requests_per_unit: 1"));
        let limit = &rule.limits[0];
        assert_eq!((limit.period.unit, limit.period.multiplier), (unit, multiplier), "{text}");
        assert_eq!(
            (limit.period.length, limit.limit.window),
            (Nanos::from_ns(ms * 1_000_000), Nanos::from_ns(ms * 1_000_000))
        );
    }
    rejected("period: 1s, unit: second", &["'unit' and 'period' both set the length of the window: keep one of them"]);
    rejected("unlimited: true, period: 1s", &["should not specify period when unlimited"]);
    let form = "write whole numbers with units w, d, h, m, s, ms, us or ns, the longest first, such as 30s or 1h30m";
    for found in ["30", "fast", "1.5h"] {
        rejected(
            &format!("period: {found}"),
            &[&format!("'period' must be a length of time, found '{found}': {form}")],
        );
    }
    rejected("period: 0s", &["'period' must be a length of time, found '0s': it must be longer than 0"]);
    rejected(
        "period: 11000d",
        &["'period' must be a length of time, found '11000d': at most 10 years (3650d) are allowed"],
    );
    rejected("period: [1]", &[&format!("'period' must be a length of time, found '[1]': {form}")]);
}

#[test]
fn algorithms() {
    let bucket = |burst, size, mode| Algorithm::TokenBucket { burst, queue: Queue { size, mode } };
    for (keys, algorithm, count_denied) in [
        ("", FIXED, CountDenied::Alone),
        ("algorithm: fixed_window", FIXED, CountDenied::Alone),
        ("starts: clock", FIXED, CountDenied::Alone),
        ("starts: clock, count_denied: false", FIXED, CountDenied::Never),
        ("starts: first_request", Algorithm::FixedWindow { starts: Starts::FirstRequest }, CountDenied::Never),
        (
            "starts: first_request, count_denied: true",
            Algorithm::FixedWindow { starts: Starts::FirstRequest },
            CountDenied::Always,
        ),
        ("algorithm: sliding_window", Algorithm::SlidingWindow, CountDenied::Never),
        ("algorithm: sliding_log", Algorithm::SlidingLog, CountDenied::Never),
        ("algorithm: sliding_log, count_denied: yes", Algorithm::SlidingLog, CountDenied::Always),
        ("algorithm: token_bucket", bucket(10, 0, QueueMode::Hold), CountDenied::Never),
        ("algorithm: token_bucket, burst: 1", bucket(1, 0, QueueMode::Hold), CountDenied::Never),
        ("algorithm: token_bucket, queue: 100", bucket(10, 100, QueueMode::Hold), CountDenied::Never),
        ("algorithm: token_bucket, queue: 0", bucket(10, 0, QueueMode::Hold), CountDenied::Never),
        ("algorithm: token_bucket, queue: {size: 5}", bucket(10, 5, QueueMode::Hold), CountDenied::Never),
        (
            "algorithm: token_bucket, burst: 20, queue: {size: 5, mode: advise}",
            bucket(20, 5, QueueMode::Advise),
            CountDenied::Never,
        ),
    ] {
        assert_eq!(limit(keys), Limit { algorithm, count_denied, ..SECOND }, "{keys}");
    }
}

#[test]
fn keys_of_algorithms_in_the_wrong_company() {
    let wrong = |key: &str, home: &str, this: &str| {
        format!(
            "'{key}' belongs to algorithm {home}, but this limit has {this}: change the algorithm or remove '{key}'"
        )
    };
    for (keys, message) in [
        ("starts: clock, algorithm: sliding_log", wrong("starts", "fixed_window", "sliding_log")),
        ("burst: 1", wrong("burst", "token_bucket", "fixed_window")),
        ("queue: 1, algorithm: sliding_window", wrong("queue", "token_bucket", "sliding_window")),
        (
            "algorithm: leaky",
            "'algorithm' must be one of fixed_window, sliding_window, sliding_log, token_bucket, found 'leaky'"
                .to_owned(),
        ),
        ("starts: now", "'starts' must be one of clock, first_request, found 'now'".to_owned()),
        (
            "algorithm: token_bucket, burst: 0",
            "'burst' must be a whole number from 1 to 4294967295, found '0'".to_owned(),
        ),
        (
            "algorithm: token_bucket, burst: 4294967296",
            "'burst' must be a whole number from 1 to 4294967295, found '4294967296'".to_owned(),
        ),
        (
            "algorithm: token_bucket, burst: '5'",
            "'burst' must be a whole number from 1 to 4294967295, found '5'".to_owned(),
        ),
        (
            "algorithm: token_bucket, queue: -1",
            "'queue' must be a whole number from 0 on or {size: N, mode: hold or advise}, found '-1'".to_owned(),
        ),
        (
            "algorithm: token_bucket, queue: {mode: hold}",
            "'queue' must be a map with a size, such as {size: 5}, found 'map[mode:hold]'".to_owned(),
        ),
        (
            "algorithm: token_bucket, queue: {size: 1, mode: wait}",
            "'mode' must be one of hold, advise, found 'wait'".to_owned(),
        ),
        ("algorithm: token_bucket, queue: {size: 1, length: 2}", "config error, unknown key 'length'".to_owned()),
        ("count_denied: 1", "'count_denied' must be true or false, found '1'".to_owned()),
        ("enabled: 'no'", "'enabled' must be true or false, found 'no'".to_owned()),
    ] {
        rejected(&format!("unit: day, requests_per_unit: 1, {keys}"), &[&message]);
    }
    rejected(
        "unit: day, requests_per_unit: 65537, algorithm: sliding_log",
        &[
            "sliding_log keeps the time of every hit, so requests_per_unit is at most 65536, found 65537: use sliding_window or token_bucket",
        ],
    );
    assert_eq!(rule("unit: day, requests_per_unit: 65536, algorithm: sliding_log").limits[0].limit.max, 65_536);
    rejected(
        "unlimited: true, burst: 1, algorithm: token_bucket",
        &["should not specify algorithm when unlimited", "should not specify burst when unlimited"],
    );
}

#[test]
fn bans() {
    let ban = |when| Some(Ban { length: Nanos::from_secs(10), when });
    for (keys, expected) in [
        ("ban: 10s", ban(BanWhen::Reached)),
        ("ban: {for: 10s}", ban(BanWhen::Reached)),
        ("ban: {for: 10s, when: reached}", ban(BanWhen::Reached)),
        ("ban: {for: 10s, when: exceeded}", ban(BanWhen::Exceeded)),
        ("ban: ~", None),
        ("algorithm: token_bucket, ban: {for: 10s, when: exceeded}", ban(BanWhen::Exceeded)),
    ] {
        assert_eq!(limit(keys).ban, expected, "{keys}");
    }
    for (keys, message) in [
        (
            "algorithm: token_bucket, ban: 10s",
            "token_bucket supports a ban only with 'when: exceeded': write ban: {for: 10s, when: exceeded}",
        ),
        ("ban: {when: reached}", "'ban' must be a map with a length, such as {for: 10s}, found 'map[when:reached]'"),
        ("ban: {for: 10s, when: never}", "'when' must be one of reached, exceeded, found 'never'"),
        ("ban: {for: 10s, long: yes}", "config error, unknown key 'long'"),
    ] {
        rejected(&format!("unit: day, requests_per_unit: 1, {keys}"), &[message]);
    }
}

#[test]
fn keys_in_the_wrong_place() {
    for (text, error) in [
        (
            "domain: d\nperiod: 1s".to_owned(),
            "2: 'period' is not allowed at the top level of a file: it is a key of rate_limit",
        ),
        (descriptor("key: a\nburst: 1"), "4: 'burst' is not allowed in a descriptor: it is a key of rate_limit"),
        (
            descriptor("key: a\nenabled: no"),
            "4: 'enabled' is not allowed in a descriptor: it is a key of rate_limit or the top level of a file",
        ),
        (
            descriptor("key: a\nrate_limit: {unit: day, charge: independent}"),
            "4: 'charge' is not allowed in rate_limit: it is a key of the top level of a file",
        ),
        (
            "domain: d\nrate_limits: []".to_owned(),
            "2: 'rate_limits' is not allowed at the top level of a file: it is a key of a descriptor",
        ),
        (
            "domain: d\nrate_limit: {period: 1s}".to_owned(),
            "2: 'period' is not allowed here: it is a key of rate_limit",
        ),
    ] {
        assert_eq!(load_files(&[&text]).err(), Some(vec![error.to_owned()]), "\n{text}\n");
    }
}

#[test]
fn several_limits() {
    let set = loaded(&descriptor(
        "key: a\nrate_limits:\n- {unit: second, requests_per_unit: 10, name: fast, replaces: [{name: x}]}\n\
         - {unit: day, requests_per_unit: 1000, enabled: false, replaces: [{name: y}]}\n- {unlimited: true, replaces: [{name: z}]}",
    ));
    let rule = &set.rules()[0];
    let limits: Vec<_> =
        rule.limits.iter().map(|limit| (limit.name.as_str(), limit.limit.max, limit.enabled)).collect();
    assert_eq!(limits, [("fast", 10, true), ("", 1000, false)]);
    assert_eq!((rule.unlimited, &rule.replaces[..]), (false, &["x".to_owned(), "z".to_owned()][..]));

    for (lines, errors) in [
        (
            "key: a\nrate_limits: []",
            &["4: 'rate_limits' is empty: give it at least one rate_limit block, or remove it"][..],
        ),
        (
            "key: a\nrate_limits: {unit: day}",
            &["4: 'rate_limits' must be a list of rate_limit blocks, found 'map[unit:day]'"],
        ),
        (
            &format!("key: a\nrate_limits: [{}]", ["{unit: day}"; 17].join(", ")),
            &["4: 'rate_limits' has 17 blocks, at most 16 are allowed"],
        ),
        (
            "key: a\nrate_limits: [1]",
            &[
                "4: config error, yaml file contains list of type other than map: 1 (an element begins with '- ' and a key, such as '- key: NAME')",
            ],
        ),
        (
            "key: a\nrate_limit: {unit: day}\nrate_limits: [{unit: day}]",
            &["5: 'rate_limit' and 'rate_limits' both give limits: keep one of them"],
        ),
        (
            "key: a\nrate_limits:\n- {unit: foo}\n- {foo: 1, unit: day}",
            &[
                "5: invalid rate limit unit 'foo' (use second, minute, hour, day, week, month or year, or 'period' for other lengths)",
                "6: config error, unknown key 'foo'",
            ],
        ),
    ] {
        let got = load_files(&[&descriptor(lines)]).err().unwrap_or_default();
        assert_eq!(got, errors, "{lines}");
    }
    assert!(loaded(&descriptor("key: a\nrate_limits: ~")).rules().is_empty());
}

#[test]
fn top_level_keys() {
    let set = loaded("domain: d\nenabled: false\ncharge: all_or_nothing");
    let domain = set.domain("d").unwrap();
    assert_eq!((domain.enabled, domain.charge), (false, Charge::AllOrNothing));
    let set = loaded("domain: d");
    let domain = set.domain("d").unwrap();
    assert_eq!((domain.enabled, domain.charge, domain.response.body.clone()), (true, Charge::Independent, Body::None));
    assert!(domain.response.headers.is_empty());

    assert_eq!(
        load_files(&["domain: d\ncharge: all"]).err().unwrap(),
        ["2: 'charge' must be one of independent, all_or_nothing, found 'all'"]
    );
    assert_eq!(
        load_files(&["domain: d\ncharge: independent", "domain: d\ncharge: all_or_nothing"]).err().unwrap(),
        ["2: 'charge' of domain 'd' has a different value in another file: keep one of them"]
    );
    assert!(
        load_files(&["domain: d\ncharge: all_or_nothing", "domain: d", "domain: d\ncharge: all_or_nothing"]).is_ok()
    );
}

#[test]
fn responses() {
    let response = |text: &str| {
        let set = loaded(&format!("domain: d\nresponse: {text}"));
        set.domain("d").unwrap().response.clone()
    };
    let all = response("{headers: [retry_after, x_ratelimit, ietf, draft_03], reset: epoch, body: json}");
    assert_eq!(
        all.headers,
        [HeaderFamily::RetryAfter, HeaderFamily::XRateLimit, HeaderFamily::Ietf, HeaderFamily::Draft03]
    );
    assert_eq!((all.reset, all.body), (Reset::Epoch, Body::Json));
    assert_eq!(response("{headers: [x_ratelimit]}").reset, Reset::Delta);
    assert_eq!(response("{body: none}").body, Body::None);
    let Body::Template { content_type, template } =
        response("{body: {content_type: text/html; charset=utf-8, template: 'max {limit}'}}").body
    else {
        panic!("no template")
    };
    assert_eq!(content_type, "text/html; charset=utf-8");
    assert_eq!(template.parts(), [TemplatePart::Text("max ".to_owned()), TemplatePart::Limit]);

    let media = "a media type such as application/json or text/html; charset=utf-8";
    for (text, error) in [
        ("json", "'response' must be a map of headers, reset and body, found 'json'".to_owned()),
        ("{header: []}", "config error, unknown key 'header' (did you mean 'headers'?)".to_owned()),
        ("{headers: [x_limit]}", "'headers' must be one of x_ratelimit, draft_03, ietf, retry_after, found 'x_limit'".to_owned()),
        ("{headers: ietf}", "'headers' must be a list of x_ratelimit, draft_03, ietf, retry_after, found 'ietf'".to_owned()),
        ("{headers: [ietf, ietf]}", "'headers' lists ietf twice".to_owned()),
        ("{headers: [x_ratelimit], reset: soon}", "'reset' must be one of delta, epoch, found 'soon'".to_owned()),
        ("{reset: epoch}", "'reset' applies to x_ratelimit only: add x_ratelimit to 'headers', or remove 'reset'".to_owned()),
        ("{body: xml}", "'body' must be none, json or {content_type: ..., template: ...}, found 'xml'".to_owned()),
        ("{body: {template: a}}", "'body' must be a map with both content_type and template, found 'map[template:a]'".to_owned()),
        ("{body: {content_type: \"a/b\\r\\nx\", template: a}}", format!("'content_type' must be {media}, found 'a/b\\r\nx'")),
        ("{body: {content_type: json, template: a}}", format!("'content_type' must be {media}, found 'json'")),
        (
            "{body: {content_type: a/b, template: '{limits}'}}",
            "'template' has an unknown placeholder {limits}: use {limit}, {period_seconds}, {retry_after}, {remaining}, {domain}, {rule} or {entry.KEY}; write {{ for a brace".to_owned(),
        ),
    ] {
        let got = load_files(&[&format!("domain: d\nresponse: {text}")]).err().unwrap_or_default();
        assert_eq!(got, [format!("2: {error}")], "{text}");
    }
}

#[test]
fn domains_and_rules_keep_the_order_of_the_files() {
    let block = "descriptors: [{key: k, rate_limit: {unit: day}, descriptors: [{key: l, rate_limit: {unit: day}}]}]";
    let texts: Vec<_> = ["z", "a", "m"].iter().map(|name| format!("domain: {name}\n{block}")).collect();
    let set = load_files(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let names: Vec<_> = set.domains().map(|domain| domain.name.as_str()).collect();
    let rules: Vec<_> = set.rules().iter().map(|rule| (rule.index, rule.domain.as_str(), rule.path.as_str())).collect();
    assert_eq!(names, ["z", "a", "m"]);
    assert_eq!(
        rules,
        [(0, "z", "z.k"), (1, "z", "z.k.l"), (2, "a", "a.k"), (3, "a", "a.k.l"), (4, "m", "m.k"), (5, "m", "m.k.l")]
    );
}
