//! The text of a custom over-limit body, with placeholders.

use super::field::Field;
use super::own;
use super::report::Report;
use super::yaml::Node;

/// The longest template, in bytes: it is sent with every denial, which must stay cheaper than the request that it denies.
const MAX_TEMPLATE: usize = 16_384;

/// A text with placeholders such as `{limit}`. A brace that does not begin a placeholder is literal, so that JSON and CSS
/// need no escapes; `{{` is a literal brace too, for a text such as `{limit}` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Literal text.
    Text(String),
    /// The limit that denied the check, in hits.
    Limit,
    /// That limit's window, in seconds.
    PeriodSeconds,
    /// Seconds until the same check can succeed, rounded up.
    RetryAfter,
    /// The hits that are still allowed now.
    Remaining,
    /// The domain.
    Domain,
    /// The path of the rule that denied the check.
    Rule,
    /// The value of the entry with that key in the denied descriptor.
    Entry(String),
}

impl Template {
    /// The parts, in order; texts are never empty and never adjacent.
    pub fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// Reads a template.
    ///
    /// # Errors
    /// The name of a placeholder that does not exist.
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('{') {
                literal.push('{');
                rest = after;
            } else if let Some((name, after)) = placeholder(rest) {
                if !literal.is_empty() {
                    parts.push(TemplatePart::Text(std::mem::take(&mut literal)));
                }
                parts.push(part(name).ok_or_else(|| name.to_owned())?);
                rest = after;
            } else {
                literal.push('{');
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TemplatePart::Text(literal));
        }
        Ok(Self { parts })
    }
}

/// Reads the value of `template`.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Field<Template> {
    let (text, line) = match own::text(node, "template", report) {
        Field::Given(text, line) => (text, line),
        Field::Absent => return Field::Absent,
        Field::Invalid => return Field::Invalid,
    };
    if text.len() > MAX_TEMPLATE {
        report.error(line, format!("'template' has {} bytes, at most {MAX_TEMPLATE} are allowed", text.len()));
        return Field::Invalid;
    }
    match Template::parse(&text) {
        Ok(template) => Field::Given(template, line),
        Err(name) => {
            report.error(line, format!("'template' has an unknown placeholder {{{name}}}: {KNOWN}"));
            Field::Invalid
        }
    }
}

const KNOWN: &str = "use {limit}, {period_seconds}, {retry_after}, {remaining}, {domain}, {rule} or {entry.KEY}; \
                     write {{ for a brace";

/// The name up to the closing brace, and the rest; `None` if this is not a placeholder.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.split_once('}')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name || name.strip_prefix("entry.").is_some_and(|key| !key.contains(['{', '\n']))).then_some((name, after))
}

fn part(name: &str) -> Option<TemplatePart> {
    Some(match name {
        "limit" => TemplatePart::Limit,
        "period_seconds" => TemplatePart::PeriodSeconds,
        "retry_after" => TemplatePart::RetryAfter,
        "remaining" => TemplatePart::Remaining,
        "domain" => TemplatePart::Domain,
        "rule" => TemplatePart::Rule,
        _ => TemplatePart::Entry(name.strip_prefix("entry.").filter(|key| !key.is_empty())?.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> TemplatePart {
        TemplatePart::Text(text.to_owned())
    }

    #[test]
    fn templates() {
        use TemplatePart::{Domain, Entry, Limit, PeriodSeconds, Remaining, RetryAfter, Rule};
        for (template, expected) in [
            ("", Ok(vec![])),
            ("plain", Ok(vec![text("plain")])),
            ("{limit}", Ok(vec![Limit])),
            (
                "{limit}{period_seconds}{retry_after}{remaining}{domain}{rule}",
                Ok(vec![Limit, PeriodSeconds, RetryAfter, Remaining, Domain, Rule]),
            ),
            ("for {entry.partner}!", Ok(vec![text("for "), Entry("partner".to_owned()), text("!")])),
            ("{entry.a-b.c}", Ok(vec![Entry("a-b.c".to_owned())])),
            (r#"{"limit": {limit}}"#, Ok(vec![text(r#"{"limit": "#), Limit, text("}")])),
            ("a{color: red}", Ok(vec![text("a{color: red}")])),
            ("{{limit}", Ok(vec![text("{limit}")])),
            ("{limit", Ok(vec![text("{limit")])),
            ("{}", Ok(vec![text("{}")])),
            ("{Limit}", Err("Limit".to_owned())),
            ("{entry}", Err("entry".to_owned())),
            ("{entry.}", Err("entry.".to_owned())),
            ("{x", Ok(vec![text("{x")])),
        ] {
            assert_eq!(Template::parse(template).map(|template| template.parts), expected, "{template}");
        }
    }
}
