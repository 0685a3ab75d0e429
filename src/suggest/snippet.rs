//! A rules file with suggested numbers, and comments that say what they are based on.

use std::fmt::{self, Display, Formatter, Write};

use crate::engine::{Algorithm, BanWhen, CountDenied, QueueMode, Starts};
use crate::rules::{Charge, Domain, DomainNode, Period, Rule, RuleLimit, RuleSet};
use crate::sanitize::sanitize_within;
use crate::units::Nanos;

/// A rules file of one domain. Displayed, it is what `tidegate check` accepts.
#[derive(Clone, Debug, Default)]
pub struct Snippet {
    /// The domain.
    domain: String,
    /// Keys of the domain besides its descriptors.
    keys: Vec<String>,
    /// Comments at the top.
    pub head: Vec<String>,
    children: Vec<Node>,
}

/// A rule's part of the file.
#[derive(Clone, Debug, Default)]
pub struct RuleText {
    /// Comments above its limits.
    pub comments: Vec<String>,
    /// Keys of the descriptor besides its limits.
    pub keys: Vec<String>,
    /// Its limits, each as a flow map.
    pub limits: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    key: String,
    value: String,
    rule: Option<RuleText>,
    /// Flags of the level.
    flags: Vec<&'static str>,
    children: Vec<Node>,
}

impl Snippet {
    /// The file of a configured domain; `text` is the part of each of its rules.
    pub fn of_domain(domain: &Domain, rules: &RuleSet, mut text: impl FnMut(&Rule) -> RuleText) -> Self {
        let mut keys = Vec::new();
        if domain.charge == Charge::AllOrNothing {
            keys.push("charge: all_or_nothing".to_owned());
        }
        if !domain.enabled {
            keys.push("enabled: false".to_owned());
        }
        let mut children: Vec<_> = domain.nodes().iter().map(|node| Node::configured(node, rules, &mut text)).collect();
        for rule in rules.rules().iter().filter(|rule| rule.domain == domain.name) {
            flag(&mut children, rule);
        }
        Self { domain: domain.name.clone(), keys, head: Vec::new(), children }
    }

    /// An empty file of a domain, for [`add`](Self::add).
    pub fn new(domain: &str) -> Self {
        Self { domain: domain.to_owned(), ..Self::default() }
    }

    /// Adds a rule at the end of these levels of key and value; an empty value is any.
    pub fn add(&mut self, levels: &[(String, String)], rule: RuleText) {
        let mut children = &mut self.children;
        let mut rule = Some(rule);
        for (depth, (key, value)) in levels.iter().enumerate() {
            let at = children.iter().position(|node| node.key == *key && node.value == *value).unwrap_or_else(|| {
                children.push(Node { key: key.clone(), value: value.clone(), ..Node::default() });
                children.len() - 1
            });
            let Some(node) = children.get_mut(at) else { return };
            if depth + 1 == levels.len() {
                node.rule = rule.take();
            }
            children = &mut node.children;
        }
    }
}

impl Node {
    fn configured(node: &DomainNode<'_>, rules: &RuleSet, text: &mut impl FnMut(&Rule) -> RuleText) -> Self {
        let rule = node.rule.and_then(|index| rules.rules().get(index)).map(&mut *text);
        let children = node.children.iter().map(|child| Self::configured(child, rules, text)).collect();
        Self { key: node.key.to_owned(), value: node.value.to_owned(), rule, flags: Vec::new(), children }
    }

    fn write(&self, depth: usize, out: &mut String) -> fmt::Result {
        let indent = "  ".repeat(depth);
        writeln!(out, "{indent}- key: {}", quoted(&self.key))?;
        if !self.value.is_empty() {
            writeln!(out, "{indent}  value: {}", quoted(&self.value))?;
        }
        for flag in &self.flags {
            writeln!(out, "{indent}  {flag}: true")?;
        }
        if let Some(rule) = &self.rule {
            rule.keys.iter().try_for_each(|key| writeln!(out, "{indent}  {key}"))?;
            rule.comments.iter().try_for_each(|comment| writeln!(out, "{indent}  # {}", shown(comment)))?;
            match &*rule.limits {
                [] => {}
                [only] => writeln!(out, "{indent}  rate_limit: {only}")?,
                several => {
                    writeln!(out, "{indent}  rate_limits:")?;
                    several.iter().try_for_each(|limit| writeln!(out, "{indent}  - {limit}"))?;
                }
            }
        }
        if !self.children.is_empty() {
            writeln!(out, "{indent}  descriptors:")?;
            self.children.iter().try_for_each(|child| child.write(depth + 1, out))?;
        }
        Ok(())
    }
}

impl Display for Snippet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.head.iter().try_for_each(|line| writeln!(out, "# {}", shown(line)))?;
        writeln!(out, "domain: {}", quoted(&self.domain))?;
        self.keys.iter().try_for_each(|key| writeln!(out, "{key}"))?;
        if !self.children.is_empty() {
            writeln!(out, "descriptors:")?;
            self.children.iter().try_for_each(|child| child.write(0, &mut out))?;
        }
        f.write_str(out.trim_end())
    }
}

impl RuleText {
    /// The part of a configured rule, with this number for each of its limits by its place; `None`: the configured one.
    pub fn of_rule(rule: &Rule, mut number: impl FnMut(&RuleLimit) -> Option<u32>, comments: Vec<String>) -> Self {
        let flags = [
            ("shadow_mode", rule.shadow_mode),
            ("quota_mode", rule.quota_mode),
            ("detailed_metric", rule.detailed_metric),
        ];
        let mut keys: Vec<_> =
            flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| format!("{flag}: true")).collect();
        keys.extend(rule.metadata.as_ref().map(|metadata| format!("metadata: {metadata}")));
        let replaces: Vec<_> = rule.replaces.iter().map(|name| format!("{{name: {}}}", quoted(name))).collect();
        let mut replaces = (!replaces.is_empty()).then(|| format!("replaces: [{}]", replaces.join(", ")));
        let limited = rule.limits.iter().map(|limit| block(limit, number(limit)));
        let names = rule.unlimited_names.iter().map(|name| Some(name.as_str()));
        let unnamed = (rule.unlimited && rule.unlimited_names.is_empty()).then_some(None);
        let unlimited = names.chain(unnamed).map(|name| {
            let name = name.map(|name| format!("name: {}", quoted(name)));
            ["unlimited: true".to_owned()].into_iter().chain(name).collect()
        });
        let blocks: Vec<Vec<String>> = limited.chain(unlimited).collect();
        let limits = blocks.into_iter().map(|mut pairs| {
            pairs.extend(replaces.take());
            format!("{{{}}}", pairs.join(", "))
        });
        Self { comments, keys, limits: limits.collect() }
    }
}

/// The keys of a limit's block.
fn block(limit: &RuleLimit, number: Option<u32>) -> Vec<String> {
    let mut pairs = Vec::new();
    if !limit.name.is_empty() {
        pairs.push(format!("name: {}", quoted(&limit.name)));
    }
    let max = number.unwrap_or(limit.requests_per_unit);
    pairs.extend([period(limit.period), format!("requests_per_unit: {max}")]);
    match limit.limit.algorithm {
        Algorithm::FixedWindow { starts: Starts::Clock | Starts::Calendar(_) } => {}
        Algorithm::FixedWindow { starts: Starts::FirstRequest } => pairs.push("starts: first_request".to_owned()),
        Algorithm::SlidingWindow => pairs.push("algorithm: sliding_window".to_owned()),
        Algorithm::SlidingLog => pairs.push("algorithm: sliding_log".to_owned()),
        Algorithm::TokenBucket { burst, queue } => {
            pairs.push("algorithm: token_bucket".to_owned());
            if burst != limit.limit.max.max(1) {
                pairs.push(format!("burst: {burst}"));
            }
            let mode = if queue.mode == QueueMode::Advise { "advise" } else { "hold" };
            if queue.size > 0 {
                pairs.push(format!("queue: {{size: {}, mode: {mode}}}", queue.size));
            }
        }
    }
    if let Some(ban) = limit.limit.ban {
        let when = if ban.when == BanWhen::Reached { "reached" } else { "exceeded" };
        pairs.push(format!("ban: {{for: {}, when: {when}}}", length(ban.length)));
    }
    let usual = matches!(limit.limit.algorithm, Algorithm::FixedWindow { starts } if starts.is_aligned());
    match limit.limit.count_denied {
        CountDenied::Always => pairs.push("count_denied: true".to_owned()),
        CountDenied::Never if usual => pairs.push("count_denied: false".to_owned()),
        CountDenied::Never | CountDenied::Alone => {}
    }
    if !limit.enabled {
        pairs.push("enabled: false".to_owned());
    }
    pairs
}

fn period(period: Period) -> String {
    match (period.calendar, period.unit) {
        (Some(calendar), _) => format!("period: {}", calendar.written()),
        (None, Some(unit)) if period.multiplier == 1 => format!("unit: {}", unit.name().to_lowercase()),
        (None, _) => format!("period: {}", length(period.length)),
    }
}

fn length(length: Nanos) -> String {
    let ns = length.as_ns();
    if ns.is_multiple_of(Nanos::SECOND.as_ns()) {
        format!("{}s", ns / Nanos::SECOND.as_ns())
    } else {
        format!("{}ms", ns / Nanos::MILLISECOND.as_ns())
    }
}

/// Sets the flags of the levels that a rule has.
fn flag(children: &mut [Node], rule: &Rule) {
    let mut below = children;
    for level in &rule.levels {
        let Some(node) = below.iter_mut().find(|node| node.key == level.key && node.value == level.value) else {
            return;
        };
        for (name, set) in [("share_threshold", level.share_threshold), ("value_to_metric", level.value_to_metric)] {
            if set && !node.flags.contains(&name) {
                node.flags.push(name);
            }
        }
        below = &mut node.children;
    }
}

/// A text in quotes: JSON is YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A comment is one line.
fn shown(line: &str) -> String {
    sanitize_within(MAX_COMMENT_BYTES, line)
}

/// Bytes of a comment: its values may be long.
const MAX_COMMENT_BYTES: usize = 500;
