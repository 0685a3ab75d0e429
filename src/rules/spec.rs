//! The domain and the descriptors of a file as written.

use serde_json::Value as Json;

use super::alerts::{self, AlertSpec};
use super::field::{self, Field};
use super::limit_spec::LimitSpec;
use super::report::Report;
use super::response::{self, Response};
use super::sharing::{self, Sharing};
use super::yaml::{Kind, Node, Pair};
use super::{Charge, metadata, own, usage};

/// A file, key by key.
#[derive(Debug, Default)]
pub(super) struct FileSpec {
    pub(super) domain: Field<String>,
    pub(super) descriptors: Vec<DescriptorSpec>,
    pub(super) enabled: Field<bool>,
    pub(super) charge: Field<Charge>,
    pub(super) response: Field<Response>,
    pub(super) alerts: Vec<AlertSpec>,
    /// The line of text after the first document of the file.
    pub(super) more: Option<usize>,
    pub(super) usage_by: Field<Vec<String>>,
    pub(super) sharing: Field<Sharing>,
}

/// A descriptor, key by key.
#[derive(Debug, Default)]
pub(super) struct DescriptorSpec {
    /// The line it begins in.
    pub(super) line: usize,
    pub(super) key: Field<String>,
    pub(super) value: Field<String>,
    pub(super) rate_limit: Option<LimitSpec>,
    pub(super) rate_limits: Field<Vec<LimitSpec>>,
    pub(super) shadow_mode: Field<bool>,
    pub(super) quota_mode: Field<bool>,
    pub(super) detailed_metric: Field<bool>,
    pub(super) value_to_metric: Field<bool>,
    pub(super) share_threshold: Field<bool>,
    pub(super) metadata: Option<Json>,
    pub(super) descriptors: Vec<DescriptorSpec>,
}

const CHARGES: [(&str, Charge); 2] = [("independent", Charge::Independent), ("all_or_nothing", Charge::AllOrNothing)];

impl FileSpec {
    /// Reads a whole file; `None` if its root is neither a map nor null, which has been reported.
    pub(super) fn read(root: &Node, report: &mut Report<'_>) -> Option<Self> {
        let mut spec = Self::default();
        match &root.kind {
            Kind::Map(pairs) => pairs.iter().for_each(|pair| spec.read_pair(pair, report)),
            _ if root.is_null() => {}
            _ => {
                field::mismatch(root, "map[interface {}]interface {}", report);
                return None;
            }
        }
        Some(spec)
    }

    pub(super) fn read_pair(&mut self, Pair { key, value }: &Pair, report: &mut Report<'_>) {
        match key.as_text().unwrap_or_default() {
            "domain" => self.domain = field::text(value, report),
            "descriptors" => self.descriptors = descriptors(value, report),
            "enabled" => self.enabled = own::flag(value, "enabled", report),
            "charge" => self.charge = own::word(value, "charge", &CHARGES, report),
            "response" => self.response = response::read(value, report),
            "alerts" => self.alerts = report.discreetly(|report| alerts::read(value, report)),
            "sharing" => self.sharing = sharing::read(value, report),
            "usage" => self.usage_by = usage::read(value, report),
            _ => {}
        }
    }
}

impl DescriptorSpec {
    fn read(node: &Node, report: &mut Report<'_>) -> Option<Self> {
        let Kind::Map(pairs) = &node.kind else {
            field::mismatch(node, "config.YamlDescriptor", report);
            return None;
        };
        let mut spec = Self { line: node.line, ..Self::default() };
        for pair in pairs {
            spec.read_pair(pair, report);
        }
        Some(spec)
    }

    fn read_pair(&mut self, Pair { key, value }: &Pair, report: &mut Report<'_>) {
        match key.as_text().unwrap_or_default() {
            "key" => self.key = field::text(value, report),
            "value" => self.value = field::text(value, report),
            "rate_limit" => self.read_limit(key.line, value, report),
            "rate_limits" => self.rate_limits = limits(value, report),
            "shadow_mode" => self.shadow_mode = field::flag(value, report),
            "quota_mode" => self.quota_mode = field::flag(value, report),
            "detailed_metric" => self.detailed_metric = field::flag(value, report),
            "value_to_metric" => self.value_to_metric = field::flag(value, report),
            "share_threshold" => self.share_threshold = field::flag(value, report),
            "metadata" => self.read_metadata(value, report),
            "descriptors" => self.descriptors = descriptors(value, report),
            _ => {}
        }
    }

    fn read_limit(&mut self, line: usize, value: &Node, report: &mut Report<'_>) {
        if value.is_null() {
            self.rate_limit = None;
            return;
        }
        let mut limit = self.rate_limit.take().unwrap_or_default();
        limit.line = line;
        self.rate_limit = limit.read(value, report).then_some(limit);
    }

    /// Metadata that is given twice is merged, as in the reference.
    fn read_metadata(&mut self, value: &Node, report: &mut Report<'_>) {
        match (&mut self.metadata, metadata::read(value, report)) {
            (Some(Json::Object(known)), Some(Json::Object(more))) => known.extend(more),
            (known, more) => *known = more,
        }
    }
}

fn descriptors(node: &Node, report: &mut Report<'_>) -> Vec<DescriptorSpec> {
    let items = field::list(node, "[]config.YamlDescriptor", report).unwrap_or_default();
    items.iter().filter_map(|item| DescriptorSpec::read(item, report)).collect()
}

fn limits(node: &Node, report: &mut Report<'_>) -> Field<Vec<LimitSpec>> {
    let Kind::List(items) = &node.kind else {
        return own::unfit(node, "rate_limits", "a list of rate_limit blocks", report);
    };
    if items.is_empty() {
        report.error(node.line, "'rate_limits' is empty: give it at least one rate_limit block, or remove it");
        return Field::Invalid;
    }
    if items.len() > MAX_LIMITS {
        report.error(node.line, format!("'rate_limits' has {} blocks, at most {MAX_LIMITS} are allowed", items.len()));
        return Field::Invalid;
    }
    let blocks = items.iter().filter_map(|item| {
        let mut limit = LimitSpec { line: item.line, ..LimitSpec::default() };
        limit.read(item, report).then_some(limit)
    });
    Field::Given(blocks.collect(), node.line)
}

/// Limits of one descriptor. They are charged with all of their shards locked, and under `charge: all_or_nothing` so are
/// those of all descriptors of a check, of which there are at most 1,000.
const MAX_LIMITS: usize = 16;
