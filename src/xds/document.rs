//! PURE: a configuration of the control plane, written as a rules file.
//!
//! So it is read by the loader of files, with its checks, its texts and its bounds; a line in an error is a line of the dump at the admin
//! port; and what was received can be given to `tidegate check` and `simulate`.

use std::fmt::{self, Write};

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::api::proto::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit,
};

/// The text is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Writes the configuration, in at most `max_bytes`.
///
/// # Errors
/// It would be longer.
pub(super) fn write(config: &RateLimitConfig, max_bytes: usize) -> Result<String, TooLong> {
    let mut document = Document { text: String::new(), max_bytes };
    document.config(config).map_err(|fmt::Error| TooLong)?;
    Ok(document.text)
}

struct Document {
    text: String,
    max_bytes: usize,
}

impl Write for Document {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len().saturating_add(text.len()) > self.max_bytes {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl Document {
    fn config(&mut self, config: &RateLimitConfig) -> fmt::Result {
        writeln!(self, "domain: {}", Quoted(&config.domain))?;
        self.descriptors(0, &config.descriptors)
    }

    fn descriptors(&mut self, indent: usize, descriptors: &[RateLimitDescriptor]) -> fmt::Result {
        if descriptors.is_empty() {
            return Ok(());
        }
        writeln!(self, "{:indent$}descriptors:", "")?;
        descriptors.iter().try_for_each(|descriptor| self.descriptor(indent.saturating_add(2), descriptor))
    }

    fn descriptor(&mut self, indent: usize, descriptor: &RateLimitDescriptor) -> fmt::Result {
        writeln!(self, "{:indent$}- key: {}", "", Quoted(&descriptor.key))?;
        let indent = indent.saturating_add(2);
        if !descriptor.value.is_empty() {
            writeln!(self, "{:indent$}value: {}", "", Quoted(&descriptor.value))?;
        }
        if let Some(limit) = &descriptor.rate_limit {
            self.limit(indent, limit)?;
        }
        let flags = [
            ("shadow_mode", descriptor.shadow_mode),
            ("quota_mode", descriptor.quota_mode),
            ("detailed_metric", descriptor.detailed_metric),
        ];
        // On a node without a limit, a flag has no effect: Envoy Gateway sets it on all levels of a rule.
        for (flag, _) in flags.into_iter().filter(|(_, is_set)| *is_set && descriptor.rate_limit.is_some()) {
            writeln!(self, "{:indent$}{flag}: true", "")?;
        }
        if let Some(metadata) = descriptor.metadata.as_ref().filter(|metadata| !metadata.fields.is_empty()) {
            write!(self, "{:indent$}metadata: ", "")?;
            self.map(metadata)?;
            writeln!(self)?;
        }
        self.descriptors(indent, &descriptor.descriptors)
    }

    fn limit(&mut self, indent: usize, limit: &RateLimitPolicy) -> fmt::Result {
        writeln!(self, "{:indent$}rate_limit:", "")?;
        let indent = indent.saturating_add(2);
        match RateLimitUnit::try_from(limit.unit) {
            // An unlimited one has none.
            Ok(RateLimitUnit::Unknown) if limit.unlimited => {}
            Ok(unit) => writeln!(self, "{:indent$}unit: {}", "", unit.as_str_name())?,
            Err(_) => writeln!(self, "{:indent$}unit: \"{}\"", "", limit.unit)?,
        }
        if limit.unlimited {
            writeln!(self, "{:indent$}unlimited: true", "")?;
        } else {
            writeln!(self, "{:indent$}requests_per_unit: {}", "", limit.requests_per_unit)?;
        }
        if !limit.name.is_empty() {
            writeln!(self, "{:indent$}name: {}", "", Quoted(&limit.name))?;
        }
        if !limit.replaces.is_empty() {
            writeln!(self, "{:indent$}replaces:", "")?;
        }
        limit
            .replaces
            .iter()
            .try_for_each(|replaced| writeln!(self, "{:indent$}  - name: {}", "", Quoted(&replaced.name)))
    }

    /// A map in one line.
    fn map(&mut self, map: &Struct) -> fmt::Result {
        self.write_char('{')?;
        for (place, (key, value)) in map.fields.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(self, "{comma}{}: ", Quoted(key))?;
            self.value(value)?;
        }
        self.write_char('}')
    }

    fn value(&mut self, value: &Value) -> fmt::Result {
        match &value.kind {
            None | Some(Kind::NullValue(_)) => self.write_str("null"),
            Some(Kind::BoolValue(value)) => write!(self, "{value}"),
            Some(Kind::StringValue(text)) => write!(self, "{}", Quoted(text)),
            Some(Kind::NumberValue(number)) if number.is_finite() => write!(self, "{number}"),
            // The loader reports it.
            Some(Kind::NumberValue(_)) => self.write_str(".nan"),
            Some(Kind::StructValue(map)) => self.map(map),
            Some(Kind::ListValue(list)) => {
                self.write_char('[')?;
                for (place, value) in list.values.iter().enumerate() {
                    if place > 0 {
                        self.write_str(", ")?;
                    }
                    self.value(value)?;
                }
                self.write_char(']')
            }
        }
    }
}

/// Text in double quotes, with all that is not shown escaped.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if is_escaped(c) => write!(f, "\\U{:08x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Control characters, ends of lines and byte order marks; and what changes the direction of the text on a terminal.
fn is_escaped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::ratelimit::config::ratelimit::v3::RateLimitReplace;
    use crate::rules::{self, Entry, LoadOptions, SourceFile};

    #[allow(clippy::unnecessary_wraps, reason = "it is for a field that may be left out")]
    fn limit(unit: i32, requests_per_unit: u32) -> Option<RateLimitPolicy> {
        Some(RateLimitPolicy { unit, requests_per_unit, ..RateLimitPolicy::default() })
    }

    fn one(descriptor: RateLimitDescriptor) -> RateLimitConfig {
        RateLimitConfig { name: "n".to_owned(), domain: "d".to_owned(), descriptors: vec![descriptor] }
    }

    fn load(config: &RateLimitConfig) -> Result<rules::RuleSet, String> {
        let text = write(config, usize::MAX).unwrap().into_bytes();
        let file = SourceFile { name: "n".to_owned(), text };
        rules::load(&[file], LoadOptions::default())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_configuration_is_a_rules_file() {
        let replaces = vec![RateLimitReplace { name: "b".to_owned() }];
        let leaf = RateLimitDescriptor {
            key: "leaf".to_owned(),
            value: "a \"quoted\"\nvalue".to_owned(),
            rate_limit: Some(RateLimitPolicy {
                unit: 7,
                requests_per_unit: 3,
                name: "a".to_owned(),
                replaces,
                ..RateLimitPolicy::default()
            }),
            shadow_mode: true,
            quota_mode: true,
            metadata: Some(Struct { fields: [("k".to_owned(), Value::from(1.5))].into() }),
            ..RateLimitDescriptor::default()
        };
        let all = one(RateLimitDescriptor {
            key: "top".to_owned(),
            shadow_mode: true,
            descriptors: vec![leaf],
            ..RateLimitDescriptor::default()
        });
        let expected = "domain: \"d\"\ndescriptors:\n  - key: \"top\"\n    descriptors:\n      - key: \"leaf\"\n        \
             value: \"a \\\"quoted\\\"\\U0000000avalue\"\n        rate_limit:\n          unit: WEEK\n          requests_per_unit: 3\n          \
             name: \"a\"\n          replaces:\n            - name: \"b\"\n        shadow_mode: true\n        quota_mode: true\n        \
             metadata: {\"k\": 1.5}\n";
        assert_eq!(write(&all, usize::MAX).unwrap(), expected);
        assert_eq!(write(&all, expected.len()), Ok(expected.to_owned()));
        assert_eq!(write(&all, expected.len() - 1), Err(TooLong));
        let rules = load(&all).unwrap();
        assert_eq!(rules.rules().len(), 1);
        assert_eq!(rules.warnings().len(), 1, "only of the name that nobody has: {:?}", rules.warnings());
    }

    #[test]
    fn every_text_is_found_again() {
        for value in
            ["*", "true", "null", "1", "a: b", "#", "- x", "é\u{85}\u{2028}\u{feff}", "\0\u{7f}\t\r\n", "\\\"'", " x "]
        {
            let config = one(RateLimitDescriptor {
                key: "k".to_owned(),
                value: value.to_owned(),
                rate_limit: limit(2, 1),
                ..RateLimitDescriptor::default()
            });
            let rules = load(&config).unwrap();
            let entry = Entry { key: "k".into(), value: value.into() };
            let domain = rules.domain("d").unwrap();
            assert!(domain.find(rules.rules(), &[entry]).is_some(), "{value:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_reported_in_the_words_of_the_reference() {
        let with =
            |rate_limit| RateLimitDescriptor { key: "k".to_owned(), rate_limit, ..RateLimitDescriptor::default() };
        let unlimited = |unit| Some(RateLimitPolicy { unit, unlimited: true, ..RateLimitPolicy::default() });
        let mut nameless = one(with(limit(1, 1)));
        nameless.domain.clear();
        let keyless = one(RateLimitDescriptor { rate_limit: limit(1, 1), ..RateLimitDescriptor::default() });
        let twice = RateLimitConfig { descriptors: vec![with(limit(1, 1)); 2], ..one(with(None)) };
        let odd = Struct { fields: [("k".to_owned(), Value::from(f64::NAN))].into() };
        let odd = one(RateLimitDescriptor { metadata: Some(odd), ..with(limit(1, 1)) });
        for (config, expected) in [
            (one(with(limit(0, 1))), "invalid rate limit unit 'UNKNOWN'"),
            (one(with(limit(9, 1))), "invalid rate limit unit '9'"),
            (one(with(unlimited(1))), "should not specify rate limit unit when unlimited"),
            (nameless, "config file cannot have empty domain"),
            (keyless, "descriptor has empty key"),
            (twice, "duplicate descriptor composite key 'd.k'"),
            (odd, "error parsing metadata"),
        ] {
            let errors = load(&config).unwrap_err();
            assert!(errors.starts_with("n:") && errors.contains(expected), "{expected}: {errors}");
        }
        assert!(load(&one(with(unlimited(0)))).is_ok());
    }
}
