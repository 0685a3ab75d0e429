//! The parts of an answer besides the decision: headers, and the body of a denial, as `response:` of the domain configures.

mod body;
mod headers;
pub mod metadata;

use crate::api::rls::ResponseParts;
use crate::limiter::{Check, Code, CurrentLimit, Decision, Settings, Status};
use crate::rules::{Body, Entry, Response};
use crate::units::Timestamp;

impl ResponseParts {
    /// The parts for `decision`. Empty, at no cost, for a domain without `response:` and a check without a delay, unless `settings` have
    /// headers for all domains.
    pub fn new(check: &Check<'_>, decision: &Decision<'_>, settings: &Settings, now: Timestamp) -> Self {
        let mut parts = Self::default();
        if let Some(response) = decision.domain.map(|domain| &domain.response)
            && let is_configured = (!response.headers.is_empty() || response.body != Body::None)
            && (is_configured || !settings.headers.is_empty())
            && let Some(governing) = GoverningLimit::new(check, decision)
        {
            let families = if is_configured { &response.headers } else { settings.headers };
            for family in families {
                let headers = &mut parts.response_headers;
                headers::put(headers, *family, response.reset, &governing, settings.draft_03_names, now);
            }
            parts.add_body(response, &governing);
        }
        if !decision.advice.is_zero() {
            let delay = (DELAY, decision.advice.as_millis_ceil().to_string());
            parts.response_headers.push(delay.clone());
            parts.request_headers.push(delay);
        }
        parts
    }

    fn add_body(&mut self, response: &Response, governing: &GoverningLimit<'_>) {
        if !governing.denied {
            return;
        }
        let (content_type, text) = match &response.body {
            Body::None => return,
            Body::Json => (JSON, body::json(governing)),
            Body::Template { content_type, template } => {
                (content_type.as_str(), body::fill(template, content_type, governing))
            }
        };
        self.response_headers.push(("content-type", content_type.to_owned()));
        self.body = text;
    }
}

/// The governing limit, which headers and body report.
struct GoverningLimit<'d> {
    domain: &'d str,
    /// The entries of the descriptor that it limits.
    entries: &'d [Entry<'d>],
    status: &'d Status<'d>,
    limit: CurrentLimit<'d>,
    /// Whether the check is denied.
    denied: bool,
}

impl<'d> GoverningLimit<'d> {
    fn new(check: &'d Check<'_>, decision: &'d Decision<'_>) -> Option<Self> {
        let index = decision.governing?;
        let (descriptor, status) = check.descriptors.get(index).zip(decision.statuses.get(index))?;
        let denied = decision.code == Code::OverLimit;
        Some(Self { domain: &check.domain, entries: &descriptor.entries, status, limit: status.limit?, denied })
    }

    /// Seconds until the check can succeed, rounded up and never 0, with which clients would retry at once.
    fn retry_after(&self) -> u64 {
        self.status.reset.as_secs_ceil().max(1)
    }
}

/// How long an admitted check is advised to wait, in milliseconds.
const DELAY: &str = "x-ratelimit-delay-ms";
const JSON: &str = "application/json";
