//! Keys laid over the rules that a control plane sends: its protocol has no field for algorithms, periods, bans, responses and alerts.
//!
//! ```yaml
//! overlay:
//!   - domain: "envoy-gateway-system/*"
//!     response: {headers: [x_ratelimit]}
//!     rules:
//!       - path: "*.rule-0-match-0"
//!         rate_limit: {algorithm: sliding_window}
//! ```
//!
//! Domains and paths are patterns with `*`; without a path, all rules of the domain are meant. Of several that match, the later ones add to
//! the earlier ones.

use super::field::{Field, Requests};
use super::limit_spec::LimitSpec;
use super::pattern::matches;
use super::report::Report;
use super::rule::joined;
use super::spec::{DescriptorSpec, FileSpec};
use super::yaml::{self, Kind, Node, Pair, Scalar, Value};
use super::{ConfigError, SourceFile, own, quote, vocabulary};

/// A file with keys that are laid over the rules of others.
#[derive(Clone, Debug)]
pub struct OverlayFile {
    name: String,
    domains: Vec<DomainPart>,
}

/// What is laid over domains.
#[derive(Clone, Debug, Default)]
struct DomainPart {
    pattern: String,
    /// Keys of the top level of a rules file.
    keys: Vec<Pair>,
    rules: Vec<RulePart>,
}

/// What is laid over rules.
#[derive(Clone, Debug)]
struct RulePart {
    pattern: String,
    line: usize,
    limit: Node,
}

/// Which parts of an overlay were used, by their places.
#[derive(Debug)]
pub(super) struct Used(Vec<Vec<bool>>);

impl OverlayFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Every error of the file, in the order of its lines.
    pub fn read(file: &SourceFile) -> Result<Self, Vec<ConfigError>> {
        let mut report = Report::new(&file.name);
        let mut domains = Vec::new();
        match yaml::read(&file.text) {
            Ok(document) => domains = read_root(&document.root, &mut report),
            Err(yaml::Fault { line, cause }) => report.error(line, format!("yaml: line {line}: {cause}")),
        }
        let (errors, _) = report.finish();
        if errors.is_empty() { Ok(Self { name: file.name.clone(), domains }) } else { Err(errors) }
    }

    /// No part has been used.
    pub(super) fn unused(&self) -> Used {
        Used(self.domains.iter().map(|domain| vec![false; domain.rules.len()]).collect())
    }

    /// Lays the keys over a file. What is wrong with them was reported when the overlay was read.
    pub(super) fn lay_over(&self, spec: &mut FileSpec, used: &mut Used) {
        let name = spec.domain.given().cloned().unwrap_or_default();
        for (part, used) in self.domains.iter().zip(&mut used.0).filter(|(part, _)| matches(&part.pattern, &name)) {
            let mut report = Report::new(&self.name);
            part.keys.iter().for_each(|pair| spec.read_pair(pair, &mut report));
            for (rule, used) in part.rules.iter().zip(used) {
                *used |= rule.lay_over_all("", &mut spec.descriptors, &mut report);
            }
        }
    }

    /// A warning for each part that no rule matches.
    pub(super) fn inactive(&self, used: &Used) -> Vec<ConfigError> {
        let report = Report::new(&self.name);
        let mut found = Vec::new();
        for (part, used) in self.domains.iter().zip(&used.0) {
            let idle = part.rules.iter().zip(used).filter(|(_, used)| !**used);
            found.extend(idle.map(|(rule, _)| {
                let text = format!(
                    "inactive: no rule of a domain that matches '{}' has a path that matches '{}'",
                    part.pattern, rule.pattern
                );
                report.finding(rule.line, &text)
            }));
        }
        found
    }
}

impl RulePart {
    /// Whether a rule at or below these descriptors matches.
    fn lay_over_all(&self, path: &str, descriptors: &mut [DescriptorSpec], report: &mut Report<'_>) -> bool {
        let mut used = false;
        for descriptor in descriptors {
            let text = |field: &Field<String>| field.given().cloned().unwrap_or_default();
            let level = joined(&text(&descriptor.key), &text(&descriptor.value));
            let path = if path.is_empty() { level } else { format!("{path}.{level}") };
            if let Some(limit) = descriptor.rate_limit.as_mut().filter(|limit| !limit.unlimited.is_set())
                && matches(&self.pattern, &path)
            {
                lay_over_limit(limit, &self.limit, report);
                used = true;
            }
            used |= self.lay_over_all(&path, &mut descriptor.descriptors, report);
        }
        used
    }
}

/// A period takes the place of a unit, and the other way round.
fn lay_over_limit(limit: &mut LimitSpec, keys: &Node, report: &mut Report<'_>) {
    let Kind::Map(pairs) = &keys.kind else { return };
    let has = |key: &str| pairs.iter().any(|pair| pair.key.as_text() == Some(key));
    if has("period") {
        limit.unit = Field::Absent;
    }
    if has("unit") {
        limit.period = Field::Absent;
    }
    limit.read(keys, report);
}

fn read_root(root: &Node, report: &mut Report<'_>) -> Vec<DomainPart> {
    let parts = match &root.kind {
        Kind::Map(pairs) => match pairs.as_slice() {
            [Pair { key, value }] if key.as_text() == Some("overlay") => Some(value),
            _ => None,
        },
        _ => None,
    };
    let Some(Node { kind: Kind::List(parts), .. }) = parts else {
        report.error(root.line, "expected a list called 'overlay', each element of which has a 'domain'");
        return Vec::new();
    };
    parts.iter().map(|part| read_domain(part, report)).collect()
}

fn read_domain(node: &Node, report: &mut Report<'_>) -> DomainPart {
    let mut part = DomainPart::default();
    let Kind::Map(pairs) = &node.kind else {
        report.error(node.line, "expected a map with a 'domain'");
        return part;
    };
    for Pair { key, value } in pairs {
        match key.as_text().unwrap_or_default() {
            "domain" => part.pattern = own::text(value, "domain", report).given().cloned().unwrap_or_default(),
            "rules" => part.rules = read_rules(value, report),
            "descriptors" | "name" => {
                report
                    .error(key.line, "an overlay has no rules of its own: write 'rules' with 'path' and 'rate_limit'");
            }
            _ => part.keys.push(Pair { key: key.clone(), value: value.clone() }),
        }
    }
    if part.pattern.is_empty() {
        report.error(node.line, "'domain' is missing: write a name, or a pattern with '*'");
    }
    // As the top level of a file that has nothing else.
    let domain = pair("domain", text(node.line, "overlay"));
    let mut file = Node { line: node.line, kind: Kind::Map([vec![domain], part.keys.clone()].concat()) };
    vocabulary::check(&mut file, report);
    FileSpec::read(&file, report);
    part
}

fn read_rules(node: &Node, report: &mut Report<'_>) -> Vec<RulePart> {
    let Kind::List(items) = &node.kind else {
        report.error(node.line, "'rules' must be a list of {path, rate_limit}");
        return Vec::new();
    };
    items.iter().filter_map(|item| read_rule(item, report)).collect()
}

fn read_rule(node: &Node, report: &mut Report<'_>) -> Option<RulePart> {
    let Kind::Map(pairs) = &node.kind else {
        report.error(node.line, "expected {path, rate_limit}");
        return None;
    };
    let (mut pattern, mut limit) = ("*".to_owned(), None);
    for Pair { key, value } in pairs {
        match key.as_text().unwrap_or_default() {
            "path" => pattern = own::text(value, "path", report).given().cloned().unwrap_or_default(),
            "rate_limit" => limit = Some(value.clone()),
            _ => report.error(key.line, format!("unknown key '{}': expected path or rate_limit", quote::value(key))),
        }
    }
    let Some(limit) = limit else {
        report.error(node.line, "'rate_limit' is missing: it has the keys that are laid over the rule's");
        return None;
    };
    check_limit(&limit, report);
    Some(RulePart { pattern, line: node.line, limit })
}

/// The keys as those of a rule that allows one hit a second.
fn check_limit(limit: &Node, report: &mut Report<'_>) {
    let line = limit.line;
    let descriptor = vec![pair("key", text(line, "key")), pair("rate_limit", limit.clone())];
    let descriptors = Node { line, kind: Kind::List(vec![Node { line, kind: Kind::Map(descriptor) }]) };
    let file = vec![pair("domain", text(line, "overlay")), pair("descriptors", descriptors)];
    let mut file = Node { line, kind: Kind::Map(file) };
    vocabulary::check(&mut file, report);
    FileSpec::read(&file, report);
    let mut spec = LimitSpec {
        line,
        unit: Field::Given("second".to_owned(), line),
        requests: Field::Given(Requests::AtMost(1), line),
        ..LimitSpec::default()
    };
    lay_over_limit(&mut spec, limit, report);
    let _limit = spec.build(1, report);
}

fn text(line: usize, text: &str) -> Node {
    let scalar = Scalar { text: text.to_owned(), value: Value::Text, tag: "!!str".into() };
    Node { line, kind: Kind::Scalar(scalar) }
}

fn pair(key: &str, value: Node) -> Pair {
    Pair { key: text(value.line, key), value }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, load, load_over};
    use super::*;

    const RULES: &str = "domain: gw/one\ndescriptors:\n- key: route\n  value: a\n  descriptors:\n  - {key: user, rate_limit: {unit: HOUR, requests_per_unit: 5}}\n\
                         - {key: all, rate_limit: {unit: HOUR, requests_per_unit: 9}}\n- {key: free, rate_limit: {unlimited: true}}\n";

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.to_owned(), text: text.into() }
    }

    /// Each rule in words, then the warnings.
    fn laid(overlay: &str) -> Vec<String> {
        let overlay = OverlayFile::read(&file("o", overlay)).unwrap();
        let rules = load_over(&[file("r", RULES)], LoadOptions::default(), Some(&overlay)).unwrap();
        let words = rules.rules().iter().map(|rule| format!("{}: {}", rule.path, rule.words()));
        words.chain(rules.warnings().iter().map(ToString::to_string)).collect()
    }

    #[test]
    fn keys_are_laid_over_the_rules_that_match() {
        let plain = laid("overlay: []");
        assert_eq!(plain.len(), 3, "{plain:?}");
        let found = laid(
            "overlay:\n- domain: gw/*\n  response: {headers: [ietf]}\n  rules:\n  - path: 'route_*.user'\n    rate_limit: {algorithm: \
             token_bucket, burst: 7}\n  - rate_limit: {period: 30s}\n- domain: gw/one\n  rules:\n  - path: none\n    rate_limit: {ban: 1m}\n",
        );
        assert!(found[0].contains("token_bucket") && found[0].contains('7') && found[0].contains("30s"), "{found:?}");
        assert!(found[1].contains("30s") && !found[1].contains("token_bucket"), "{found:?}");
        assert_eq!(found[2], plain[2], "an unlimited rule stays as it is");
        assert_eq!(
            found[3..],
            ["o:10: inactive: no rule of a domain that matches 'gw/one' has a path that matches 'none'"],
            "{found:?}"
        );
        let calendar =
            "overlay:\n- domain: gw/*\n  rules: [{rate_limit: {period: {calendar: day, timezone: Asia/Tokyo}}}]";
        assert_eq!(laid(calendar)[0], "gw/one.route_a.user: 5 per calendar day (Asia/Tokyo)");
        let overlay = OverlayFile::read(&file("o", "overlay: [{domain: '*', response: {headers: [ietf]}}]")).unwrap();
        let rules = load_over(&[file("r", RULES)], LoadOptions::default(), Some(&overlay)).unwrap();
        assert_eq!(rules.domain("gw/one").unwrap().response.headers.len(), 1);
        assert!(
            load(&[file("r", RULES)], LoadOptions::default())
                .unwrap()
                .domain("gw/one")
                .unwrap()
                .response
                .headers
                .is_empty()
        );
    }

    #[test]
    fn mistakes_are_reported_in_the_overlay() {
        for (text, expected) in [
            ("domain: x", "o:1: expected a list called 'overlay'"),
            ("overlay: [x]", "o:1: expected a map with a 'domain'"),
            ("overlay:\n- rules: []", "o:2: 'domain' is missing"),
            ("overlay:\n- domain: x\n  descriptors: []", "o:3: an overlay has no rules of its own"),
            ("overlay:\n- domain: x\n  respons: {}", "o:3: config error, unknown key 'respons'"),
            ("overlay:\n- domain: x\n  rules: [{path: a}]", "o:3: 'rate_limit' is missing"),
            ("overlay:\n- domain: x\n  rules: [{rate_limit: {algorithm: leaky}}]", "o:3: 'algorithm'"),
            (
                "overlay:\n- domain: x\n  rules: [{rate_limit: {burst: 3}}]",
                "o:3: 'burst' belongs to algorithm token_bucket",
            ),
            ("overlay:\n- domain: x\n  rules: [{rate_limit: {perod: 3s}}]", "o:3: config error, unknown key 'perod'"),
            ("overlay:\n- domain: x\n  rules: [{rate_limit: {period: soon}}]", "o:3: 'period'"),
            (
                "overlay:\n- domain: x\n  rules: [{rate_limit: {period: {calendar: day, timezone: Tokio}}}]",
                "o:3: 'timezone'",
            ),
            ("overlay: [", "o:1: yaml: line 1"),
        ] {
            let errors = OverlayFile::read(&file("o", text)).unwrap_err();
            assert!(errors[0].to_string().starts_with(expected), "{text}: {errors:?}");
        }
    }
}
