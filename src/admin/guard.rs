//! Before every request of the admin port: is the host name this server's, who asks, and may they?

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tonic::Status;

use crate::access::{FailedLogins, FailureCounts, Hosts, Principal, Role, TokenFile};
use crate::net::PeerAddress;
use crate::runtime::clock::Clock;
use crate::sanitize::sanitize;

/// Who may use the admin port.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Without it, every caller may do everything.
    pub(crate) tokens: Option<Arc<TokenFile>>,
    /// The names of this server.
    pub(crate) hosts: Hosts,
    /// Rejected requests.
    pub(crate) failed: FailedLogins,
    /// The clock by which they are limited.
    pub(crate) clock: Arc<Clock>,
}

/// Why a request is rejected.
enum Rejection {
    /// The host name is not this server's.
    ForeignHost(String),
    /// No token, or one that is not known.
    Unknown(&'static str),
    /// The role does not allow it.
    Role(Role),
    /// The caller's address has too many failures; seconds until the next one is looked at.
    TooMany(u64),
}

/// Passes the request on with its [`Principal`] among its extensions, or rejects it.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.admit(&request) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(rejection) => rejection.response(request.headers()),
    }
}

impl Guard {
    fn admit(&self, request: &Request) -> Result<Arc<Principal>, Rejection> {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.ip());
        // A caller on a unix socket is on this machine, and is no browser.
        if let Some(host) = host(request).filter(|_| peer.is_some())
            && !self.hosts.allow(host)
        {
            self.count(|counts| &counts.foreign_host, peer, "a host name that is not this server's")?;
            return Err(Rejection::ForeignHost(sanitize(host)));
        }
        let Some(needed) = needed(request.uri().path()) else {
            return Ok(Arc::new(Principal::unrestricted("anonymous".to_owned())));
        };
        let Some(tokens) = &self.tokens else {
            let name = peer.map_or_else(|| "local".to_owned(), |peer| peer.to_string());
            return Ok(Arc::new(Principal::unrestricted(name)));
        };
        let Some(secret) = bearer(request.headers()) else {
            self.count(|counts| &counts.no_token, peer, "no token")?;
            return Err(Rejection::Unknown("a token is needed: authorization: Bearer TOKEN"));
        };
        let Some(principal) = tokens.find(secret) else {
            self.count(|counts| &counts.unknown_token, peer, "an unknown token")?;
            return Err(Rejection::Unknown("the token is not known"));
        };
        if principal.role < needed {
            FailureCounts::add(&self.failed.counts().not_allowed);
            return Err(Rejection::Role(needed));
        }
        Ok(principal)
    }

    /// Counts a failure, and logs it while its address does not have too many.
    fn count(
        &self,
        reason: impl FnOnce(&FailureCounts) -> &AtomicU64,
        peer: Option<IpAddr>,
        what: &str,
    ) -> Result<(), Rejection> {
        FailureCounts::add(reason(self.failed.counts()));
        let peer_shown = peer.map_or_else(|| "a unix socket".to_owned(), |peer| peer.to_string());
        match self.failed.charge(self.clock.now(), peer) {
            Ok(()) => {
                tracing::warn!(peer = %peer_shown, "admin port: rejected a request with {what}");
                Ok(())
            }
            Err(wait) => Err(Rejection::TooMany(wait.as_secs_ceil().max(1))),
        }
    }
}

impl Rejection {
    /// As the caller's protocol has it.
    fn response(self, headers: &HeaderMap) -> Response {
        let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let text = self.text();
        if content_type.starts_with(b"application/grpc") {
            let status = match self {
                Self::ForeignHost(_) | Self::Role(_) => Status::permission_denied(text),
                Self::Unknown(_) => Status::unauthenticated(text),
                Self::TooMany(_) => Status::resource_exhausted(text),
            };
            return status.into_http::<axum::body::Body>().into_response();
        }
        let code = match self {
            Self::ForeignHost(_) | Self::Role(_) => StatusCode::FORBIDDEN,
            Self::Unknown(_) => StatusCode::UNAUTHORIZED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        };
        let mut response = (code, format!("{text}\n")).into_response();
        match self {
            Self::Unknown(_) => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidegate\""));
            }
            Self::TooMany(seconds) => {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            Self::ForeignHost(_) | Self::Role(_) => {}
        }
        response
    }

    fn text(&self) -> String {
        match self {
            Self::ForeignHost(host) => {
                format!(
                    "'{host}' is not a name of this server: call it by IP address or localhost, or add --admin-host"
                )
            }
            Self::Unknown(what) => (*what).to_owned(),
            Self::Role(needed) => format!("the token's role does not allow this: {needed} is needed"),
            Self::TooMany(seconds) => format!("too many requests without a valid token: try again in {seconds} s"),
        }
    }
}

/// The host name that the caller used: of HTTP/2 the authority, of HTTP/1 the header.
fn host(request: &Request) -> Option<&str> {
    let header = || request.headers().get(HOST).map(|host| host.to_str().unwrap_or("?"));
    // The name without user information, which no client sends.
    request.uri().authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default()).or_else(header)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// The least role that a path needs; `None`: anybody may use it. What is not listed needs the highest.
fn needed(path: &str) -> Option<Role> {
    match path {
        // Probes of machines without tokens; they say no more than those of the public port.
        "/livez" | "/readyz" | "/healthcheck" => None,
        _ if path.starts_with("/grpc.health.v1.Health/") => None,
        // The page without any data.
        "/" => None,
        _ if path.starts_with("/dashboard/") => None,
        "/metrics"
        | "/limits"
        | "/rlconfig"
        | "/xds"
        | "/api/v1/status"
        | "/api/v1/usage"
        | "/api/v1/usage/events"
        | "/api/v1/alerts" => Some(Role::Observer),
        "/api/v1/settings" | "/api/v1/counters" | "/api/v1/candidate" => Some(Role::Operator),
        _ if path.starts_with("/grpc.reflection.") => Some(Role::Observer),
        _ if path.starts_with("/tidegate.v1.UsageService/") => Some(Role::Observer),
        _ => Some(match path.strip_prefix("/tidegate.v1.AdminService/") {
            Some("ListLimits") => Role::Observer,
            Some("ListAudit") => Role::Admin,
            Some(method) if OPERATOR.contains(&method) => Role::Operator,
            _ => Role::Admin,
        }),
    }
}

/// The methods of `AdminService` that operators may use.
const OPERATOR: [&str; 14] = [
    "ListSettings",
    "GetSetting",
    "SetSetting",
    "UnsetSetting",
    "ListCounters",
    "ResetCounters",
    "BanCounter",
    "UnbanCounters",
    "Explain",
    "StartCandidate",
    "GetCandidate",
    "PromoteCandidate",
    "StopCandidate",
    "RecordChecks",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_needs_a_role() {
        let cases = [
            ("/livez", None),
            ("/grpc.health.v1.Health/Check", None),
            ("/metrics", Some(Role::Observer)),
            ("/tidegate.v1.UsageService/WatchUsage", Some(Role::Observer)),
            ("/tidegate.v1.AdminService/ListLimits", Some(Role::Observer)),
            ("/tidegate.v1.AdminService/SetSetting", Some(Role::Operator)),
            ("/tidegate.v1.AdminService/ListAudit", Some(Role::Admin)),
            ("/tidegate.v1.AdminService/Later", Some(Role::Admin)),
            ("/", None),
            ("/dashboard/main.js", None),
            ("/dashboard", Some(Role::Admin)),
            ("/api/v1/usage/events", Some(Role::Observer)),
            ("/api/v1/counters", Some(Role::Operator)),
            ("/api/v1/later", Some(Role::Admin)),
            ("/unknown", Some(Role::Admin)),
            ("//livez", Some(Role::Admin)),
        ];
        for (path, expected) in cases {
            assert_eq!(needed(path), expected, "{path}");
        }
    }

    #[test]
    fn a_token_follows_its_scheme() {
        let cases = [
            (Some("Bearer abc"), Some("abc")),
            (Some("bearer  abc "), Some("abc")),
            (Some("Basic abc"), None),
            (Some("Bearer "), None),
            (Some("Bearer"), None),
            (None, None),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer(&headers), expected, "{value:?}");
        }
    }
}
