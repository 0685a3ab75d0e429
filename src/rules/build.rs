//! Files as written -> domains, their trees and rules.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::alerts::AlertSpec;
use super::field::Field;
use super::limit_build::Block;
use super::limit_spec::LimitSpec;
use super::report::Report;
use super::sharing::Sharing;
use super::spec::{DescriptorSpec, FileSpec};
use super::tree::{ROOT, Tree};
use super::{Alert, Charge, ConfigError, Domain, Level, LoadOptions, Origin, Response, Rule, RuleSet, Varies};

/// The configuration that is being built.
#[derive(Debug, Default)]
pub(super) struct Builder {
    options: LoadOptions,
    drafts: Vec<Draft>,
    by_name: HashMap<String, usize>,
    rules: Vec<Rule>,
    /// The rules that alerts name, each with the error to report if no file has it.
    named: Vec<(String, ConfigError)>,
    /// The domain and the name of each limit that is replaced, with the warning to report if no limit has that name.
    replaced: Vec<(String, String, ConfigError)>,
}

/// A domain that is being built.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    enabled: Option<bool>,
    /// Where `enabled` is set.
    enabled_at: Option<Origin>,
    /// The file that is being added.
    file: Arc<str>,
    counts_no_denied: bool,
    has_calendar_months: bool,
    charge: Option<Charge>,
    response: Option<Response>,
    alerts: Vec<Alert>,
    usage_by: Option<Vec<String>>,
    sharing: Option<Sharing>,
    tree: Tree,
    /// The warning to report if the domain has no rules in the end.
    without_rules: Option<ConfigError>,
    /// The texts `key` and `key_value` below each node, which must be unique there.
    taken: HashSet<(usize, String)>,
    /// The limits that rules of the current file replace, as in [`Builder::replaced`].
    replaced: Vec<(String, String, ConfigError)>,
}

/// The parent of a descriptor.
#[derive(Clone, Copy)]
struct Parent<'a> {
    node: usize,
    path: &'a str,
    levels: &'a [Level],
}

impl Builder {
    /// An empty configuration.
    pub(super) fn new(options: LoadOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Adds a file. Parts that cannot be added are still checked.
    pub(super) fn add(&mut self, mut spec: FileSpec, report: &mut Report<'_>) {
        let mut aside = Draft::default();
        let name = spec.domain.given().cloned().unwrap_or_default();
        let draft = match self.place(&spec, &name, report) {
            Some(at) => self.drafts.get_mut(at).unwrap_or(&mut aside),
            None => &mut aside,
        };
        draft.file = report.file().into();
        (draft.counts_no_denied, draft.has_calendar_months) =
            (self.options.count_no_denied, self.options.calendar_months);
        draft.set_keys(&spec, report);
        self.named.extend(draft.add_alerts(std::mem::take(&mut spec.alerts), &name, report));
        let line = spec.domain.line().unwrap_or(1);
        let text = format!("domain '{name}' has no rules: its checks are not limited");
        draft.without_rules.get_or_insert(report.finding(line, &text));
        let parent = Parent { node: ROOT, path: &name, levels: &[] };
        draft.add_descriptors(parent, spec.descriptors, &mut self.rules, report);
        self.replaced.append(&mut draft.replaced);
    }

    /// The alerts whose rule no file has, once all files are added.
    pub(super) fn missing_rules(&mut self) -> Vec<ConfigError> {
        let known: HashSet<&str> = self.rules.iter().map(|rule| &*rule.path).collect();
        let named = std::mem::take(&mut self.named).into_iter();
        named.filter(|(path, _)| !known.contains(&**path)).map(|(_, error)| error).collect()
    }

    /// Warnings that are known only once all files are added: domains without rules, and replaced names that no limit has.
    pub(super) fn losses(&mut self) -> Vec<ConfigError> {
        let limited: HashSet<&str> = self.rules.iter().map(|rule| &*rule.domain).collect();
        let empty = self.drafts.iter_mut().filter(|draft| !limited.contains(&*draft.name));
        let mut losses: Vec<_> = empty.filter_map(|draft| draft.without_rules.take()).collect();
        let names: HashSet<(&str, &str)> =
            self.rules.iter().flat_map(|rule| rule.names().map(|name| (&*rule.domain, name))).collect();
        let replaced = std::mem::take(&mut self.replaced).into_iter();
        losses
            .extend(replaced.filter(|(domain, name, _)| !names.contains(&(&**domain, &**name))).map(|(.., loss)| loss));
        losses
    }

    /// The rules, if no file had an error.
    pub(super) fn finish(mut self, warnings: Vec<ConfigError>) -> RuleSet {
        // Any file of a domain may say how its counters are shared.
        let said = self.drafts.iter().filter_map(|draft| Some((&*draft.name, draft.sharing.as_ref()?)));
        let said: HashMap<&str, &Sharing> = said.collect();
        for rule in &mut self.rules {
            rule.domain_sharing = said.get(&*rule.domain).map_or_else(Sharing::default, |sharing| (*sharing).clone());
        }
        let domains = self.drafts.into_iter().map(|draft| Domain {
            name: draft.name,
            enabled: draft.enabled.unwrap_or(true),
            enabled_at: draft.enabled_at,
            charge: draft.charge.unwrap_or_default(),
            response: draft.response.unwrap_or_default(),
            alerts: draft.alerts,
            usage_by: draft.usage_by.unwrap_or_default(),
            sharing: draft.sharing,
            tree: draft.tree,
        });
        RuleSet::new(domains.collect(), self.rules, warnings).with_calendar_months(self.options.calendar_months)
    }

    /// The draft of a file's domain.
    fn place(&mut self, spec: &FileSpec, name: &str, report: &mut Report<'_>) -> Option<usize> {
        if spec.domain.is_invalid() {
            return None;
        }
        let line = spec.domain.line().unwrap_or(1);
        if name.is_empty() {
            let hint = spec.more.map(|more| {
                format!(" (only the first YAML document of a file is read, and another one begins in line {more})")
            });
            report.error(line, format!("config file cannot have empty domain{}", hint.unwrap_or_default()));
            return None;
        }
        let known = self.by_name.get(name).copied();
        if known.is_some() && !self.options.merge_domains {
            report.error(line, format!("duplicate domain '{name}' in config file"));
            return None;
        }
        known.or_else(|| {
            let at = self.drafts.len();
            self.drafts.push(Draft { name: name.to_owned(), ..Draft::default() });
            self.by_name.insert(name.to_owned(), at);
            Some(at)
        })
    }
}

impl Draft {
    /// Sets the keys of the top level. Files that share a domain may repeat them, with the same values.
    fn set_keys(&mut self, spec: &FileSpec, report: &mut Report<'_>) {
        set("enabled", &mut self.enabled, &spec.enabled, &self.name, report);
        if let Some(line) = spec.enabled.line() {
            self.enabled_at = Some(Origin { file: Arc::clone(&self.file), line });
        }
        set("charge", &mut self.charge, &spec.charge, &self.name, report);
        set("response", &mut self.response, &spec.response, &self.name, report);
        set("sharing", &mut self.sharing, &spec.sharing, &self.name, report);
        set("usage", &mut self.usage_by, &spec.usage_by, &self.name, report);
    }

    /// Adds the alerts of a file, and returns the paths of the rules that they name.
    fn add_alerts(
        &mut self,
        specs: Vec<AlertSpec>,
        domain: &str,
        report: &mut Report<'_>,
    ) -> Vec<(String, ConfigError)> {
        let mut named = Vec::new();
        for AlertSpec { mut alert, line, rule } in specs {
            if self.alerts.iter().any(|known| known.name == alert.name) {
                report.error(
                    line,
                    format!("two alerts of domain '{domain}' have the name '{}': rename one of them", alert.name),
                );
            }
            if let Field::Given(path, line) = rule {
                let below = path.strip_prefix(domain).is_some_and(|rest| rest.starts_with('.'));
                let full = if below { path } else { format!("{domain}.{path}") };
                let wrong = format!(
                    "alert '{}' names a rule that does not exist: write the path as /rlconfig shows it",
                    alert.name
                );
                named.push((full.clone(), report.finding(line, &wrong)));
                alert.rule = Some(full);
            }
            self.alerts.push(alert);
        }
        named
    }

    fn add_descriptors(
        &mut self,
        parent: Parent<'_>,
        descriptors: Vec<DescriptorSpec>,
        rules: &mut Vec<Rule>,
        report: &mut Report<'_>,
    ) {
        for descriptor in descriptors {
            self.add_descriptor(parent, descriptor, rules, report);
        }
    }

    fn add_descriptor(
        &mut self,
        parent: Parent<'_>,
        mut descriptor: DescriptorSpec,
        rules: &mut Vec<Rule>,
        report: &mut Report<'_>,
    ) {
        let level = level(&descriptor);
        let text = level.text();
        let path = format!("{}.{text}", parent.path);
        let is_new = self.is_new(parent.node, &descriptor, &text, &path, report);
        let key_line = descriptor.key.line().unwrap_or(descriptor.line);
        let unsure = descriptor.key.is_invalid() || descriptor.value.is_invalid();
        if level.share_threshold && !unsure && !text.contains('*') {
            let line = descriptor.share_threshold.line().unwrap_or(key_line);
            report.error(
                line,
                format!(
                    "share_threshold can only be used with wildcard values (containing '*'), but found key '{text}'"
                ),
            );
        }
        let levels = [parent.levels, &[level]].concat();
        let several = match &mut descriptor.rate_limits {
            Field::Given(several, _) => several.as_mut_slice(),
            Field::Absent | Field::Invalid => &mut [],
        };
        for limit in descriptor.rate_limit.iter_mut().chain(several) {
            limit.counts_no_denied = self.counts_no_denied;
            limit.has_calendar_months = self.has_calendar_months;
        }
        let below = std::mem::take(&mut descriptor.descriptors);
        self.note_replaced(&descriptor, report);
        if self.charge != Some(Charge::AllOrNothing) {
            descriptor.rate_limit.iter().for_each(|limit| limit.warn_where_banned(report));
        }
        let rule = rule(descriptor, &self.name, &path, &levels, rules.len(), &self.file, report);
        let node = self.tree.detached(rule.as_ref().map(|rule| rule.index));
        rules.extend(rule);
        if let Some(level) = levels.last().filter(|_| is_new) {
            self.tree.attach(parent.node, &level.key, &level.value, node);
        }
        self.add_descriptors(Parent { node, path: &path, levels: &levels }, below, rules, report);
    }

    fn note_replaced(&mut self, descriptor: &DescriptorSpec, report: &Report<'_>) {
        let several = descriptor.rate_limits.given().into_iter().flatten();
        for field in descriptor.rate_limit.iter().chain(several).flat_map(|limit| &limit.replaces) {
            if let Field::Given(name, line) = field {
                let text = format!("no limit of domain '{}' has the name '{name}': this replaces nothing", self.name);
                self.replaced.push((self.name.clone(), name.clone(), report.finding(*line, &text)));
            }
        }
    }

    /// Whether the descriptor has a key, and no sibling has the same key and value.
    fn is_new(
        &mut self,
        at: usize,
        descriptor: &DescriptorSpec,
        text: &str,
        path: &str,
        report: &mut Report<'_>,
    ) -> bool {
        if descriptor.key.is_invalid() || descriptor.value.is_invalid() {
            return false;
        }
        let line = descriptor.key.line().unwrap_or(descriptor.line);
        if descriptor.key.given().is_none_or(String::is_empty) {
            report.error(line, "descriptor has empty key");
            return false;
        }
        let is_new = self.taken.insert((at, text.to_owned()));
        if !is_new {
            report.error(line, format!("duplicate descriptor composite key '{path}'"));
        }
        is_new
    }
}

fn set<T: Clone + PartialEq>(
    key: &str,
    known: &mut Option<T>,
    field: &Field<T>,
    domain: &str,
    report: &mut Report<'_>,
) {
    let Field::Given(value, line) = field else { return };
    if known.as_ref().is_some_and(|known| known != value) {
        report.error(
            *line,
            format!("'{key}' of domain '{domain}' has a different value in another file: keep one of them"),
        );
    }
    *known = Some(value.clone());
}

fn level(descriptor: &DescriptorSpec) -> Level {
    let key = descriptor.key.given().cloned().unwrap_or_default();
    let value = descriptor.value.given().cloned().unwrap_or_default();
    let share_threshold = descriptor.share_threshold.is_set();
    let varies = if share_threshold {
        // As in the reference: values of a pattern share a counter, keys that match one do not.
        if key.contains('*') { Varies::Key } else { Varies::Nothing }
    } else if key.contains('*') {
        Varies::KeyAndValue
    } else if value.is_empty() || value.contains('*') {
        Varies::Value
    } else {
        Varies::Nothing
    };
    Level { key, value, varies, value_to_metric: descriptor.value_to_metric.is_set(), share_threshold }
}

/// The rule of a descriptor that has a limit.
fn rule(
    mut descriptor: DescriptorSpec,
    domain: &str,
    path: &str,
    levels: &[Level],
    index: usize,
    file: &Arc<str>,
    report: &mut Report<'_>,
) -> Option<Rule> {
    if let (Some(_), Some(line)) = (&descriptor.rate_limit, descriptor.rate_limits.line()) {
        report.error(line, "'rate_limit' and 'rate_limits' both give limits: keep one of them");
    }
    let several = match std::mem::take(&mut descriptor.rate_limits) {
        Field::Given(specs, _) => specs,
        Field::Absent | Field::Invalid => Vec::new(),
    };
    let specs: Vec<LimitSpec> = descriptor.rate_limit.take().into_iter().chain(several).collect();
    if specs.is_empty() {
        warn_about_flags(
            &descriptor,
            "this descriptor has no limit, and those below it have flags of their own",
            report,
        );
        return None;
    }
    let mut rule = Rule {
        domain: domain.to_owned(),
        path: path.to_owned(),
        index,
        levels: levels.to_vec(),
        limits: Vec::new(),
        unlimited: false,
        unlimited_names: Vec::new(),
        replaces: Vec::new(),
        shadow_mode: descriptor.shadow_mode.is_set(),
        quota_mode: descriptor.quota_mode.is_set(),
        detailed_metric: descriptor.detailed_metric.is_set(),
        metadata: descriptor.metadata.take(),
        file: file.clone(),
        domain_sharing: Sharing::default(),
        shadow_line: descriptor.shadow_mode.line(),
        blocks: specs.into(),
    };
    add_limits(&mut rule, report);
    if rule.unlimited {
        descriptor.detailed_metric = Field::Absent;
        warn_about_flags(&descriptor, "this descriptor is unlimited", report);
    }
    Some(rule)
}

/// Warns about flags that are set where they have no effect.
fn warn_about_flags(descriptor: &DescriptorSpec, why: &str, report: &mut Report<'_>) {
    let flags = [
        ("shadow_mode", &descriptor.shadow_mode),
        ("quota_mode", &descriptor.quota_mode),
        ("detailed_metric", &descriptor.detailed_metric),
    ];
    for (name, flag) in flags {
        if let (true, Some(line)) = (flag.is_set(), flag.line()) {
            report.warn(line, format!("'{name}' has no effect: {why}"));
        }
    }
}

/// Adds the limits of the rule's blocks. A disabled block is checked like any other, but it neither makes the rule unlimited nor replaces other limits.
pub(super) fn add_limits(rule: &mut Rule, report: &mut Report<'_>) {
    let blocks = Arc::clone(&rule.blocks);
    for (spec, place) in blocks.iter().zip(1..) {
        let replaced = spec.replaced(report);
        if spec.is_enabled() {
            rule.replaces.extend(replaced);
        }
        match spec.build(place, report) {
            Some(Block::Limited(limit)) => rule.limits.push(limit),
            Some(Block::Unlimited) => {
                rule.unlimited |= spec.is_enabled();
                rule.unlimited_names.extend(spec.name.given().filter(|name| !name.is_empty()).cloned());
            }
            None => {}
        }
    }
    rule.unlimited &= rule.limits.is_empty();
}
