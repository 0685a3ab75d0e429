//! `alerts` at the top level of a file: how many denials in which window cause a notification, and where it is sent.
//!
//! Files contain no secrets: they name environment variables, which must begin with [`VARIABLE_PREFIX`], so that the author
//! of a rules file cannot make the process send its other variables anywhere.

use super::field::Field;
use super::own;
use super::report::Report;
use super::yaml::{Kind, Node};
use crate::units::Nanos;

/// Sends a notification when checks are denied too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its name, unique in the domain.
    pub name: String,
    /// The path of the one rule that it watches, domain included; `None`: every rule of the domain.
    pub rule: Option<String>,
    /// What is counted individually.
    pub per: Per,
    /// The number of denied checks, at least one ...
    pub denials: u32,
    /// ... within this time, that causes a notification.
    pub window: Nanos,
    /// After a notification, the time without further ones about the same subject.
    pub repeat_interval: Nanos,
    /// Where notifications are POSTed.
    pub webhook: Option<Webhook>,
    /// Where notifications are mailed.
    pub mail: Option<Mail>,
}

/// What is counted individually, and has notifications of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// Each rule.
    Rule,
    /// Each value of the entries with that key.
    Entry(String),
}

/// Where a notification is POSTed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The URL.
    pub target: Target,
    /// Additional headers: the name, and the environment variable that contains the value.
    pub headers: Vec<(String, String)>,
}

/// A URL, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This URL, `http` or `https`, without a password.
    Url(String),
    /// The URL in that environment variable.
    Variable(String),
}

/// Where a notification is mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The recipients, at least one.
    pub to: Vec<String>,
    /// The sender; `None`: the sender configured for the process.
    pub from: Option<String>,
}

/// The beginning of the names of variables that a file may name.
pub const VARIABLE_PREFIX: &str = "TIDEGATE_ALERT_";

/// An alert as written in a file.
#[derive(Clone, Debug)]
pub(super) struct AlertSpec {
    pub(super) alert: Alert,
    /// The line it begins in.
    pub(super) line: usize,
    /// The rule as written, and the line.
    pub(super) rule: Field<String>,
}

/// Reads the value of `alerts`. Invalid alerts are reported, without what they contain, and left out.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Vec<AlertSpec> {
    let Kind::List(items) = &node.kind else {
        let _: Field<()> = own::unfit(node, "alerts", "a list of alerts", report);
        return Vec::new();
    };
    if items.len() > MAX_ALERTS {
        report.error(node.line, format!("'alerts' has {} elements, at most {MAX_ALERTS} are allowed", items.len()));
        return Vec::new();
    }
    items.iter().filter_map(|item| read_one(item, report)).collect()
}

/// An alert, key by key.
#[derive(Default)]
struct Keys {
    name: Field<String>,
    rule: Field<String>,
    per: Field<Per>,
    denials: Field<u32>,
    window: Field<Nanos>,
    repeat_interval: Field<Nanos>,
    webhook: Field<Webhook>,
    mail: Field<Mail>,
}

impl Keys {
    const NAMES: [&str; 8] = ["name", "rule", "per", "denials", "window", "repeat_interval", "webhook", "mail"];

    fn read_key(&mut self, key: &str, value: &Node, report: &mut Report<'_>) -> bool {
        match key {
            "name" => {
                self.name = validated(own::text(value, key, report), value, key, NAME, |name| is_name(name), report);
            }
            "rule" => self.rule = own::text(value, key, report),
            "per" => self.per = per(value, report),
            "denials" => self.denials = own::whole(value, key, 1, report),
            "window" => self.window = window(value, key, report),
            "repeat_interval" => self.repeat_interval = own::length(value, key, report),
            "webhook" => self.webhook = webhook(value, report),
            "mail" => self.mail = mail(value, report),
            _ => return false,
        }
        true
    }

    fn is_invalid(&self) -> bool {
        let texts = self.name.is_invalid() || self.rule.is_invalid() || self.per.is_invalid();
        let numbers = self.denials.is_invalid() || self.window.is_invalid() || self.repeat_interval.is_invalid();
        texts || numbers || self.webhook.is_invalid() || self.mail.is_invalid()
    }
}

fn read_one(node: &Node, report: &mut Report<'_>) -> Option<AlertSpec> {
    let Kind::Map(pairs) = &node.kind else {
        let _: Field<()> = own::unfit(node, "alerts", "a list of maps with name, denials and window", report);
        return None;
    };
    let mut keys = Keys::default();
    own::map_of(pairs, &Keys::NAMES, report, |key, value, report| keys.read_key(key, value, report));
    if keys.is_invalid() {
        return None;
    }
    let (Some(name), Some(&denials), Some(&window)) = (keys.name.given(), keys.denials.given(), keys.window.given())
    else {
        report.error(node.line, "an alert needs 'name', 'denials' and 'window'");
        return None;
    };
    let alert = Alert {
        name: name.clone(),
        rule: None,
        per: keys.per.given().cloned().unwrap_or(Per::Rule),
        denials,
        window,
        repeat_interval: keys.repeat_interval.given().copied().unwrap_or(window),
        webhook: keys.webhook.given().cloned(),
        mail: keys.mail.given().cloned(),
    };
    Some(AlertSpec { alert, line: node.line, rule: keys.rule })
}

/// `per: rule` or `per: {entry: KEY}`.
fn per(node: &Node, report: &mut Report<'_>) -> Field<Per> {
    const WANTED: &str = "rule or {entry: KEY}";
    let Kind::Map(pairs) = &node.kind else {
        return match node.as_text() {
            Some("rule") => Field::Given(Per::Rule, node.line),
            _ => own::unfit(node, "per", WANTED, report),
        };
    };
    let mut entry = Field::Absent;
    own::map(pairs, report, |key, value, report| {
        let known = key == "entry";
        if known {
            entry = own::text(value, key, report);
        }
        known
    });
    match entry {
        Field::Given(key, line) if !key.is_empty() => Field::Given(Per::Entry(key), line),
        Field::Invalid => Field::Invalid,
        _ => own::unfit(node, "per", WANTED, report),
    }
}

fn window(node: &Node, key: &str, report: &mut Report<'_>) -> Field<Nanos> {
    let is_valid = |length: &Nanos| (Nanos::SECOND..=LONGEST).contains(length);
    validated(own::length(node, key, report), node, key, "from 1s to 7d", is_valid, report)
}

/// `webhook: URL` or `webhook: {url: URL, headers_env: {NAME: VARIABLE}}`, with `url_env` in place of `url`.
fn webhook(node: &Node, report: &mut Report<'_>) -> Field<Webhook> {
    let Kind::Map(pairs) = &node.kind else {
        return match url(node, "webhook", report) {
            Field::Given(target, line) => Field::Given(Webhook { target, headers: Vec::new() }, line),
            Field::Absent => Field::Absent,
            Field::Invalid => Field::Invalid,
        };
    };
    let (mut by_url, mut by_variable, mut headers) = (Field::Absent, Field::Absent, Field::Absent);
    own::map_of(pairs, &["url", "url_env", "headers_env"], report, |key, value, report| {
        match key {
            "url" => by_url = url(value, key, report),
            "url_env" => by_variable = variable(value, key, report),
            "headers_env" => headers = headers_of(value, report),
            _ => return false,
        }
        true
    });
    let target = match (by_url, by_variable) {
        (Field::Invalid, _) | (_, Field::Invalid) => return Field::Invalid,
        (Field::Given(target, _), Field::Absent) => target,
        (Field::Absent, Field::Given(name, _)) => Target::Variable(name),
        _ => return own::unfit(node, "webhook", "a map with either url or url_env", report),
    };
    if headers.is_invalid() {
        return Field::Invalid;
    }
    Field::Given(Webhook { target, headers: headers.given().cloned().unwrap_or_default() }, node.line)
}

fn url(node: &Node, key: &str, report: &mut Report<'_>) -> Field<Target> {
    const WANTED: &str = "an http or https URL without a password (url_env keeps one that is secret out of the file)";
    match validated(own::text(node, key, report), node, key, WANTED, |url: &String| is_url(url), report) {
        Field::Given(url, line) => Field::Given(Target::Url(url), line),
        Field::Absent => Field::Absent,
        Field::Invalid => Field::Invalid,
    }
}

fn headers_of(node: &Node, report: &mut Report<'_>) -> Field<Vec<(String, String)>> {
    let Kind::Map(pairs) = &node.kind else {
        return own::unfit(node, "headers_env", "a map of header names and variables", report);
    };
    let (mut headers, mut invalid) = (Vec::new(), false);
    own::map(pairs, report, |name, value, report| {
        if !is_header(name) {
            report.error(value.line, "'headers_env' has a name that is no header, or one that is set already");
            invalid = true;
        }
        match variable(value, "headers_env", report) {
            Field::Given(variable, _) => headers.push((name.to_ascii_lowercase(), variable)),
            Field::Absent | Field::Invalid => invalid = true,
        }
        true
    });
    if invalid { Field::Invalid } else { Field::Given(headers, node.line) }
}

fn variable(node: &Node, key: &str, report: &mut Report<'_>) -> Field<String> {
    let wanted = format!("the name of an environment variable that begins with {VARIABLE_PREFIX}");
    let is_variable = |name: &String| {
        name.strip_prefix(VARIABLE_PREFIX).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        })
    };
    validated(own::text(node, key, report), node, key, &wanted, is_variable, report)
}

/// `mail: {to: ADDRESS or [ADDRESS, ...], from: ADDRESS}`.
fn mail(node: &Node, report: &mut Report<'_>) -> Field<Mail> {
    let Kind::Map(pairs) = &node.kind else { return own::unfit(node, "mail", "a map of to and from", report) };
    let (mut to, mut from) = (Vec::new(), Field::Absent);
    let mut invalid = false;
    own::map_of(pairs, &["to", "from"], report, |key, value, report| {
        match key {
            "to" => {
                let items = match &value.kind {
                    Kind::List(items) => items.as_slice(),
                    _ => std::slice::from_ref(value),
                };
                for item in items {
                    match address(item, key, report) {
                        Field::Given(address, _) => to.push(address),
                        Field::Absent => {}
                        Field::Invalid => invalid = true,
                    }
                }
            }
            "from" => from = address(value, key, report),
            _ => return false,
        }
        true
    });
    if invalid || from.is_invalid() {
        return Field::Invalid;
    }
    if to.is_empty() || to.len() > MAX_RECIPIENTS {
        return own::unfit(node, "mail", &format!("a map with 'to', 1 to {MAX_RECIPIENTS} addresses"), report);
    }
    Field::Given(Mail { to, from: from.given().cloned() }, node.line)
}

fn address(node: &Node, key: &str, report: &mut Report<'_>) -> Field<String> {
    let is_address = |text: &String| {
        let parts = text.rsplit_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        parts && text.len() <= MAX_ADDRESS && text.chars().all(|c| !c.is_control() && !" <>,;\"".contains(c))
    };
    validated(own::text(node, key, report), node, key, "a mail address such as ops@example.com", is_address, report)
}

/// The field, if its value is valid; otherwise that is reported.
fn validated<T>(
    field: Field<T>,
    node: &Node,
    key: &str,
    wanted: &str,
    is_valid: impl Fn(&T) -> bool,
    report: &mut Report<'_>,
) -> Field<T> {
    match field {
        Field::Given(value, _) if !is_valid(&value) => {
            report.error(node.line, format!("'{key}' must be {wanted}{}", report.found(node)));
            Field::Invalid
        }
        field => field,
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn is_url(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let scheme = url.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme));
    scheme && url.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty())
}

/// A token (RFC 9110, section 5.6.2) other than the headers that the HTTP client sets itself.
fn is_header(name: &str) -> bool {
    let ours = ["content-type", "content-length", "transfer-encoding", "connection", "host"];
    name.parse::<http::HeaderName>().is_ok_and(|name| !ours.contains(&name.as_str()))
}

/// Alerts of one file: each is evaluated for every denial.
const MAX_ALERTS: usize = 100;
/// The name is a part of mail subjects.
const MAX_NAME: usize = 100;
const NAME: &str = "1 to 100 bytes of text";
/// The longest window: denials are counted in memory for that long.
const LONGEST: Nanos = Nanos::from_secs(7 * 86_400);
/// More recipients need a mailing list.
const MAX_RECIPIENTS: usize = 20;
/// RFC 5321, section 4.5.3.1: 64 bytes, the `@`, and 255 bytes.
const MAX_ADDRESS: usize = 320;
