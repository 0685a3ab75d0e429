//! `response` at the top level of a file: the headers and the body of an answer.

use super::field::Field;
use super::report::Report;
use super::template::{self, Template};
use super::yaml::{Kind, Node};
use super::{own, quote};

/// The parts of an answer besides the decision; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The families of headers, in the configured order, each once.
    pub headers: Vec<HeaderFamily>,
    /// The form of the time in `X-RateLimit-Reset`.
    pub reset: Reset,
    /// The body of an answer that denies the check.
    pub body: Body,
}

/// A family of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFamily {
    /// X-RateLimit-Limit, -Remaining, -Reset.
    XRateLimit,
    /// RateLimit-Limit, -Remaining, -Reset.
    Draft03,
    /// RateLimit-Policy and RateLimit, structured fields.
    Ietf,
    /// Retry-After, if the answer denies the check.
    RetryAfter,
}

/// The form of the time in `X-RateLimit-Reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// Seconds from now.
    #[default]
    Delta,
    /// Seconds since 1970.
    Epoch,
}

/// The body of an answer that denies the check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// None.
    #[default]
    None,
    /// A fixed JSON object.
    Json,
    /// A text written by the operator.
    Template {
        /// The value of `content-type`; visible ASCII and spaces only.
        content_type: String,
        /// The text.
        template: Template,
    },
}

const FAMILIES: [(&str, HeaderFamily); 4] = [
    ("x_ratelimit", HeaderFamily::XRateLimit),
    ("draft_03", HeaderFamily::Draft03),
    ("ietf", HeaderFamily::Ietf),
    ("retry_after", HeaderFamily::RetryAfter),
];
const RESETS: [(&str, Reset); 2] = [("delta", Reset::Delta), ("epoch", Reset::Epoch)];

/// Reads the value of `response`.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Field<Response> {
    let Kind::Map(pairs) = &node.kind else {
        return own::unfit(node, "response", "a map of headers, reset and body", report);
    };
    let mut headers = Field::Absent;
    let mut reset = Field::Absent;
    let mut body = Field::Absent;
    own::map_of(pairs, &["headers", "reset", "body"], report, |key, value, report| {
        match key {
            "headers" => headers = families(value, report),
            "reset" => reset = own::word(value, key, &RESETS, report),
            "body" => body = read_body(value, report),
            _ => return false,
        }
        true
    });
    if headers.is_invalid() || reset.is_invalid() || body.is_invalid() {
        return Field::Invalid;
    }
    let headers: Vec<_> = headers.given().cloned().unwrap_or_default();
    if let Some(line) = reset.line().filter(|_| !headers.contains(&HeaderFamily::XRateLimit)) {
        report.error(line, "'reset' applies to x_ratelimit only: add x_ratelimit to 'headers', or remove 'reset'");
        return Field::Invalid;
    }
    let reset = reset.given().copied().unwrap_or_default();
    let body = body.given().cloned().unwrap_or_default();
    Field::Given(Response { headers, reset, body }, node.line)
}

fn families(node: &Node, report: &mut Report<'_>) -> Field<Vec<HeaderFamily>> {
    let Kind::List(items) = &node.kind else {
        return own::unfit(node, "headers", "a list of x_ratelimit, draft_03, ietf, retry_after", report);
    };
    let mut families = Vec::new();
    let mut invalid = false;
    for item in items {
        match own::word(item, "headers", &FAMILIES, report) {
            Field::Given(family, line) if families.contains(&family) => {
                report.error(line, format!("'headers' lists {} twice", quote::value(item)));
                invalid = true;
            }
            Field::Given(family, _) => families.push(family),
            Field::Invalid => invalid = true,
            Field::Absent => {}
        }
    }
    if invalid { Field::Invalid } else { Field::Given(families, node.line) }
}

fn read_body(node: &Node, report: &mut Report<'_>) -> Field<Body> {
    let Kind::Map(pairs) = &node.kind else {
        let words = [("none", WordBody::None), ("json", WordBody::Json)];
        if node.as_text().is_some_and(|text| words.iter().any(|(word, _)| *word == text)) {
            return match own::word(node, "body", &words, report) {
                Field::Given(WordBody::None, line) => Field::Given(Body::None, line),
                Field::Given(WordBody::Json, line) => Field::Given(Body::Json, line),
                Field::Absent => Field::Absent,
                Field::Invalid => Field::Invalid,
            };
        }
        return own::unfit(node, "body", "none, json or {content_type: ..., template: ...}", report);
    };
    let mut content_type = Field::Absent;
    let mut template = Field::Absent;
    own::map_of(pairs, &["content_type", "template"], report, |key, value, report| {
        match key {
            "content_type" => content_type = read_content_type(value, report),
            "template" => template = template::read(value, report),
            _ => return false,
        }
        true
    });
    match (content_type, template) {
        (Field::Invalid, _) | (_, Field::Invalid) => Field::Invalid,
        (Field::Given(content_type, line), Field::Given(template, _)) => {
            Field::Given(Body::Template { content_type, template }, line)
        }
        _ => own::unfit(node, "body", "a map with both content_type and template", report),
    }
}

/// The bodies that are configured by one word.
#[derive(Clone, Copy)]
enum WordBody {
    None,
    Json,
}

fn read_content_type(node: &Node, report: &mut Report<'_>) -> Field<String> {
    match own::text(node, "content_type", report) {
        Field::Given(text, _) if !is_content_type(&text) => own::unfit(
            node,
            "content_type",
            "a media type such as application/json or text/html; charset=utf-8",
            report,
        ),
        field => field,
    }
}

/// A content type is a header value: this length is accepted by every client.
const MAX_CONTENT_TYPE: usize = 256;

/// `type/subtype` of token characters (RFC 9110, section 5.6.2), with optional parameters in visible ASCII.
fn is_content_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    text.len() <= MAX_CONTENT_TYPE
        && essence.trim_end().split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && parameters.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}
