//! `/metrics` of the running service: exact after checks that are known.

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::drain::check;

/// Windows of a year, which no test run outlives.
const RULES: &str = "domain: api
descriptors:
- {key: ten, rate_limit: {unit: year, requests_per_unit: 10}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: year, requests_per_unit: 0}}
- key: outer
  value: x
  descriptors:
  - {key: inner, rate_limit: {unit: year, requests_per_unit: 5}}
- {key: idle, rate_limit: {unit: year, requests_per_unit: 5}}
- {key: odd, value: \"a\\\"b\\\\c\\nd\", rate_limit: {unit: year, requests_per_unit: 5}}
";

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}

#[tokio::test]
async fn numbers_are_exact_after_a_known_set_of_checks() {
    let server = TestServer::start(RULES, &["--workers", "2"]);
    for connection in 0..4 {
        let mut service = RateLimitServiceClient::new(server.channel().await);
        for i in 0..7 {
            // 28 checks of one hit: 10 within the limit, the last 2 of them near it.
            service.should_rate_limit(check("ten", "v")).await.unwrap();
            service.should_rate_limit(check("shadow", &format!("{connection}-{i}"))).await.unwrap();
            let descriptors = vec![descriptor(&[("outer", "x"), ("inner", &i.to_string())]); 2];
            let request = RateLimitRequest { domain: "api".into(), descriptors, hits_addend: 3 };
            service.should_rate_limit(request).await.unwrap();
        }
        let unknown = RateLimitRequest { domain: "nope".into(), ..check("k", "v") };
        service.should_rate_limit(unknown).await.unwrap();
        service.should_rate_limit(RateLimitRequest::default()).await.unwrap_err();
        let mut ignored = check("none", "v");
        ignored.descriptors[0].limit = Some(RateLimitOverride::default());
        service.should_rate_limit(ignored).await.unwrap();
        service.should_rate_limit(check("odd", "a\"b\\c\nd")).await.unwrap();
    }
    let ten = r#"{domain="api",rule="api.ten",key1="ten"}"#;
    let shadow = r#"{domain="api",rule="api.shadow",key1="shadow"}"#;
    let inner = r#"{domain="api",rule="api.outer_x.inner",key1="outer_x",key2="inner"}"#;
    let odd = r#"{domain="api",rule="api.odd_a\"b\\c\nd",key1="odd_a\"b\\c\nd"}"#;
    let for_rule = |name: &str, rule: &str| format!("ratelimit_service_rate_limit_{name}{rule}");
    let cases = [
        (for_rule("total_hits", ten), 28),
        (for_rule("within_limit", ten), 10),
        (for_rule("near_limit", ten), 2),
        (for_rule("over_limit", ten), 18),
        (for_rule("shadow_mode", ten), 0),
        (for_rule("total_hits", shadow), 28),
        (for_rule("over_limit", shadow), 28),
        (for_rule("shadow_mode", shadow), 28),
        // To each of 7 values 8 charges of 3: the first is within 5, the second brings it to 6.
        (for_rule("total_hits", inner), 7 * 8 * 3),
        (for_rule("within_limit", inner), 7 * 3),
        (for_rule("near_limit", inner), 7),
        (for_rule("over_limit", inner), 7 * (1 + 6 * 3)),
        (for_rule("total_hits", odd), 4),
        (r#"ratelimit_service_rate_limit_domain_not_found{domain="nope"}"#.to_owned(), 4),
        (r#"ratelimit_service_total_requests{grpc_method="ShouldRateLimit"}"#.to_owned(), 4 * (3 * 7 + 4)),
        (r#"ratelimit_service_should_rate_limit_error{err_type="service_error"}"#.to_owned(), 4),
        ("tidegate_overrides_ignored_total".to_owned(), 4),
        ("ratelimit_service_config_load_success".to_owned(), 1),
        ("ratelimit_service_config_load_error".to_owned(), 0),
        ("tidegate_config_generation".to_owned(), 1),
        ("tidegate_config_last_reload_success".to_owned(), 1),
        ("tidegate_counters".to_owned(), 1 + 28 + 7 + 1),
        ("tidegate_new_keys_denied_total".to_owned(), 0),
    ];
    let text = server.http("GET", "/metrics", b"").1;
    for (series, expected) in cases {
        let got = server.metric(&series);
        assert_eq!(got, expected, "{series}\n{text}");
    }
    assert!(
        text.contains(r#"total_hits{domain="api",rule="api.idle",key1="idle"} 0"#),
        "an idle rule is there: {text}"
    );
}

#[tokio::test]
async fn labels_are_those_of_the_reference_and_each_series_is_there_once() {
    let rules = "domain: 'edge:10.0.0.1'
descriptors:
- {key: masked, value: 192.168.0.0/16, rate_limit: {unit: year, requests_per_unit: 5}}
- {key: masked, value: 192_168_0_0/16, rate_limit: {unit: year, requests_per_unit: 5}}
- key: route
  value: 'a|b'
  descriptors:
  - {key: addr_10.1.2.3, rate_limit: {unit: year, requests_per_unit: 5}}
";
    let server = TestServer::start(rules, &[]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let mut ask = async |domain: &str, descriptor: RateLimitDescriptor| {
        let request = RateLimitRequest { domain: domain.into(), descriptors: vec![descriptor], hits_addend: 1 };
        service.should_rate_limit(request).await.unwrap();
    };
    let masked = descriptor(&[("masked", "192.168.0.0/16")]);
    ask("edge:10.0.0.1", masked.clone()).await;
    // A limit in the request makes the path of the rule, so it counts in the same series.
    let limit = Some(RateLimitOverride { requests_per_unit: 9, unit: 6, unit_multiplier: None });
    ask("edge:10.0.0.1", RateLimitDescriptor { limit, ..masked }).await;
    ask("edge:10.0.0.1", descriptor(&[("masked", "192_168_0_0/16")])).await;
    ask("edge:10.0.0.1", descriptor(&[("route", "a|b"), ("addr_10.1.2.3", "x")])).await;
    ask("no:where", descriptor(&[("k", "v")])).await;
    ask("no|where", descriptor(&[("k", "v")])).await;
    let domain = r#"domain="edge_10_0_0_1""#;
    let total = |labels: &str| format!("ratelimit_service_rate_limit_total_hits{{{domain},{labels}}}");
    for (series, expected) in [
        (total(r#"rule="edge:10.0.0.1.masked_192.168.0.0/16",key1="masked_192_168_0_0/16""#), 2),
        (total(r#"rule="edge:10.0.0.1.masked_192_168_0_0/16",key1="masked_192_168_0_0/16""#), 1),
        (total(r#"rule="edge:10.0.0.1.route_a|b.addr_10.1.2.3",key1="route_a_b",key2="addr_10_1_2_3""#), 1),
        (r#"ratelimit_service_rate_limit_domain_not_found{domain="no_where"}"#.to_owned(), 2),
    ] {
        assert_eq!(server.metric(&series), expected, "{series}");
    }
    let text = server.http("GET", "/metrics", b"").1;
    let mut series: Vec<_> = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all, "{text}");
}

#[tokio::test]
async fn json_checks_count_like_the_others() {
    let server = TestServer::start(RULES, &[]);
    let body = br#"{"domain": "api", "descriptors": [{"entries": [{"key": "ten", "value": "v"}]}]}"#;
    for _ in 0..3 {
        assert_eq!(server.http("POST", "/json", body).0, 200);
    }
    assert_eq!(server.http("POST", "/json", b"{\"domain\": \"\"}").0, 400);
    let series = r#"ratelimit_service_rate_limit_total_hits{domain="api",rule="api.ten",key1="ten"}"#;
    assert_eq!(server.metric(series), 3);
}

#[tokio::test]
async fn global_shadow_mode_is_counted() {
    let server = TestServer::start(RULES, &["--shadow-mode"]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for _ in 0..13 {
        service.should_rate_limit(check("ten", "v")).await.unwrap();
    }
    assert_eq!(server.metric("ratelimit_service_global_shadow_mode"), 3);
}
