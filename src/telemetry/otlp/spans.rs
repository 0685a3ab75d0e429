//! Spans of checks: one header or one random number decides whether a check has one, before anything is built.

use std::fmt;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, Span};

/// Makes the spans of checks. Cloned once per worker.
#[derive(Clone)]
pub struct CheckTracer {
    tracer: SdkTracer,
    sampling: Sampling,
}

impl CheckTracer {
    pub(super) fn new(tracer: SdkTracer, sampling: Sampling) -> Self {
        Self { tracer, sampling }
    }

    /// Begins the span of a check with this trace context; `None` when the check is not sampled.
    ///
    /// Cost when not sampled: parsing `traceparent`, and a random number if a share of checks is sampled. A `traceparent` that
    /// does not follow the W3C format is ignored.
    pub fn begin(&self, trace: TraceContext<'_>) -> Option<CheckSpan> {
        let parent = trace.traceparent.and_then(Parent::parse);
        self.sampling.decide(parent.as_ref()).then(|| self.build(parent, trace.tracestate))
    }

    #[cold]
    fn build(&self, parent: Option<Parent>, state: Option<&str>) -> CheckSpan {
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.context(state)),
            None => Context::new(),
        };
        let builder = self.tracer.span_builder(SPAN_NAME).with_kind(SpanKind::Server).with_attributes([
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", "envoy.service.ratelimit.v3.RateLimitService"),
            KeyValue::new("rpc.method", "ShouldRateLimit"),
        ]);
        CheckSpan { span: Box::new(builder.start_with_context(&self.tracer, &context)) }
    }
}

impl fmt::Debug for CheckTracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckTracer").field("sampling", &self.sampling).finish_non_exhaustive()
    }
}

/// The trace that a call is part of, by its W3C headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceContext<'c> {
    /// The header `traceparent`.
    pub traceparent: Option<&'c str>,
    /// The header `tracestate`.
    pub tracestate: Option<&'c str>,
}

/// The span of one sampled check. It ends when it is dropped.
#[derive(Debug)]
pub struct CheckSpan {
    /// Boxed, so that a check that is not sampled does not reserve space for it.
    span: Box<Span>,
}

impl CheckSpan {
    /// Adds the check's domain and the overall code.
    pub fn decided(&mut self, domain: &str, code: &'static str) {
        self.span.set_attribute(KeyValue::new("ratelimit.domain", cut(domain)));
        self.span.set_attribute(KeyValue::new("ratelimit.code", code));
    }

    /// Adds the check's domain, if it could be read, and the error that was returned instead of a decision.
    pub fn failed(&mut self, domain: &str, error: &str) {
        self.decided(domain, "UNKNOWN");
        self.span.set_status(Status::error(error.to_owned()));
    }
}

/// The first [`MAX_DOMAIN`] bytes of a domain.
fn cut(domain: &str) -> String {
    domain.get(..domain.floor_char_boundary(MAX_DOMAIN)).unwrap_or_default().to_owned()
}

/// Which checks are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sampling {
    /// A check that is part of a trace is sampled if and only if the trace is.
    parent_based: bool,
    /// The share of other checks that is sampled, in units of 2^-63.
    share: u64,
}

impl Sampling {
    /// `share` is from 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "from 0 to 2^63"
    )]
    pub(super) fn new(parent_based: bool, share: f64) -> Self {
        Self { parent_based, share: (share * WHOLE as f64) as u64 }
    }

    /// Ratios are compared with the lower half of the trace id, as the SDK does: services that sample the same share of the
    /// same traces choose the same ones.
    fn decide(self, parent: Option<&Parent>) -> bool {
        match (parent, self.share) {
            (Some(parent), _) if self.parent_based => parent.sampled,
            (_, 0) => false,
            (_, WHOLE) => true,
            (Some(parent), share) => low_bits(parent.trace) < share,
            (None, share) => low_bits(RandomIdGenerator::default().new_trace_id()) < share,
        }
    }
}

/// The caller's span, from the header `traceparent`.
#[derive(Debug, PartialEq, Eq)]
struct Parent {
    trace: TraceId,
    span: SpanId,
    sampled: bool,
}

impl Parent {
    /// Source: W3C Trace Context, `version-traceid-parentid-flags` in lower-case hex; later versions may append more.
    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = TraceId::from_hex(hex(parts.next()?, 32)?).ok()?;
        let span = SpanId::from_hex(hex(parts.next()?, 16)?).ok()?;
        let flags = u8::from_str_radix(hex(parts.next()?, 2)?, 16).ok()?;
        let whole = version != "ff" && (version != "00" || parts.next().is_none());
        (whole && trace != TraceId::INVALID && span != SpanId::INVALID).then_some(Self {
            trace,
            span,
            sampled: flags & 1 == 1,
        })
    }

    fn context(&self, state: Option<&str>) -> SpanContext {
        let state = state.and_then(|state| state.parse::<TraceState>().ok());
        let flags = TraceFlags::default().with_sampled(self.sampled);
        SpanContext::new(self.trace, self.span, flags, true, state.unwrap_or_default())
    }
}

const SPAN_NAME: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Long enough for the name of any real domain, short enough for a queue of 2,048 spans.
const MAX_DOMAIN: usize = 256;

/// All checks.
const WHOLE: u64 = 1 << 63;

fn low_bits(trace: TraceId) -> u64 {
    let [_, _, _, _, _, _, _, _, low @ ..] = trace.to_bytes();
    u64::from_be_bytes(low) >> 1
}

/// `text`, if it is `length` digits of lower-case hex.
fn hex(text: &str, length: usize) -> Option<&str> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == length && is_hex).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        let upper = TRACE.to_uppercase();
        let cases = [
            (format!("00-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-03"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-may-come"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{upper}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00-{TRACE}-{SPAN}-+1"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (String::new(), None),
        ];
        for (header, sampled) in cases {
            assert_eq!(Parent::parse(&header).map(|parent| parent.sampled), sampled, "{header}");
        }
    }

    #[test]
    fn sampling_follows_the_parent_and_the_share() {
        let parent =
            |sampled| Some(Parent { trace: TraceId::from_hex(TRACE).unwrap(), span: SpanId::INVALID, sampled });
        let cases = [
            (true, 1.0, None, true),
            (true, 0.0, None, false),
            (true, 1.0, parent(false), false),
            (true, 0.0, parent(true), true),
            (false, 1.0, parent(false), true),
            (false, 0.0, parent(true), false),
            // The lower half of the id is 0x8448... of 2^64: just above a half.
            (false, 0.51, parent(false), false),
            (false, 0.52, parent(false), true),
        ];
        for (parent_based, share, parent, expected) in cases {
            let decided = Sampling::new(parent_based, share).decide(parent.as_ref());
            assert_eq!(decided, expected, "{parent_based} {share} {parent:?}");
        }
        let tenth = Sampling::new(true, 0.1);
        let sampled = (0..10_000).filter(|_| tenth.decide(None)).count();
        assert!((700..1_300).contains(&sampled), "{sampled} of 10,000, expected about 1,000");
    }
}
