//! Envoy's bootstrap configuration, as JSON (which is YAML).

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// What differs from test to test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gateway {
    /// Answer 500 rather than let requests pass when Tidegate does not answer.
    pub(crate) fail_closed: bool,
    /// How long Envoy waits for an answer.
    pub(crate) timeout: &'static str,
    /// Envoy's worker threads.
    pub(crate) workers: usize,
    /// Tidegate processes behind Envoy.
    pub(crate) replicas: usize,
    /// Ask each replica for its health five times a second, and act on it at once.
    pub(crate) health_checks: bool,
    /// Look before a request, and charge when its response is done what the service's header `x-cost` says.
    pub(crate) charge_after: bool,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { fail_closed: false, timeout: "2s", workers: 1, replicas: 1, health_checks: false, charge_after: false }
    }
}

impl Gateway {
    /// The whole configuration; `upstream` is the path of the socket behind which a second listener plays the service.
    pub(crate) fn bootstrap(&self, rls: &[SocketAddr], upstream: &Path) -> String {
        let upstream = json!({"pipe": {"path": upstream}});
        let config = json!({
            "admin": {"address": socket("127.0.0.1:0".parse().unwrap())},
            "static_resources": {
                "listeners": [
                    listener("gateway", &socket("127.0.0.1:0".parse().unwrap()), &[self.filter()], &self.limited_route()),
                    listener("service", &upstream, &[], &service()),
                ],
                "clusters": [cluster("upstream", &[upstream]), self.rls_cluster(rls)],
            },
        });
        config.to_string()
    }

    fn filter(&self) -> Value {
        let mut filter = rate_limit_filter("partner-api", "tidegate", self.timeout);
        filter["typed_config"]["failure_mode_deny"] = self.fail_closed.into();
        filter
    }

    /// To the service, limited by the partner and, where the request names them, the endpoint and the tenant.
    fn limited_route(&self) -> Value {
        let actions = [
            entry("x-partner", "partner", false),
            entry("x-endpoint", "endpoint", true),
            entry("x-tenant", "tenant", true),
        ];
        if !self.charge_after {
            return json!({"route": {"cluster": "upstream", "rate_limits": [{"actions": actions}]}});
        }
        // Envoy ignores `hits_addend` in a route's own rate limits.
        json!({"route": {"cluster": "upstream"}, "typed_per_filter_config": {"envoy.filters.http.ratelimit": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
            "rate_limits": [
                {"actions": actions, "hits_addend": {"number": 0}},
                {"actions": actions, "hits_addend": {"format": "%RESP(x-cost)%"}, "apply_on_stream_done": true},
            ],
        }}})
    }

    fn rls_cluster(&self, rls: &[SocketAddr]) -> Value {
        let endpoints: Vec<_> = rls.iter().map(|address| socket(*address)).collect();
        let mut tidegate = grpc_cluster("tidegate", &endpoints);
        if self.health_checks {
            tidegate["common_lb_config"] = json!({"update_merge_window": "0s"});
            tidegate["health_checks"] = json!([{
                "timeout": "1s", "interval": "0.2s", "no_traffic_interval": "0.2s", "unhealthy_interval": "0.2s",
                "unhealthy_threshold": 1, "healthy_threshold": 1,
                "grpc_health_check": {"service_name": "ratelimit"},
            }]);
        }
        tidegate
    }
}

/// Answers every request, and says that it cost what the request said it would.
fn service() -> Value {
    json!({
        "direct_response": {"status": 200, "body": {"inline_string": "served"}},
        "response_headers_to_add": [{"header": {"key": "x-cost", "value": "%REQ(x-cost)%"}, "keep_empty_value": false}],
    })
}

/// The rate limit filter, which asks a cluster about a domain. Requests that it cannot ask about pass.
pub(crate) fn rate_limit_filter(domain: &str, cluster: &str, timeout: &str) -> Value {
    json!({"name": "envoy.filters.http.ratelimit", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
        "domain": domain,
        "timeout": timeout,
        "failure_mode_deny": false,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "enable_retry_after_header": true,
        "rate_limit_service": {
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": cluster}},
        },
    }})
}

/// An action that makes an entry of a header.
pub(crate) fn entry(header: &str, key: &str, optional: bool) -> Value {
    json!({"request_headers": {"header_name": header, "descriptor_key": key, "skip_if_absent": optional}})
}

pub(crate) fn listener(name: &str, address: &Value, filters: &[Value], route: &Value) -> Value {
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    }});
    let mut route = route.clone();
    route["match"] = json!({"prefix": "/"});
    let filters = [filters, &[router]].concat();
    json!({"name": name, "address": address, "filter_chains": [{"filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "http_filters": filters,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        },
    }]}]})
}

/// A cluster that is asked over HTTP/2.
pub(crate) fn grpc_cluster(name: &str, endpoints: &[Value]) -> Value {
    let mut cluster = cluster(name, endpoints);
    cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    cluster
}

pub(crate) fn cluster(name: &str, endpoints: &[Value]) -> Value {
    let endpoints: Vec<_> = endpoints.iter().map(|address| json!({"endpoint": {"address": address}})).collect();
    json!({"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}],
    }})
}

pub(crate) fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}
