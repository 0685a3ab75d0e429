//! A `rate_limit` block as written in the file.

use super::calendar_period;
use super::field::{self, Field, Requests};
use super::own;
use super::period::PeriodSpec;
use super::report::Report;
use super::sharing::{self, Sharing};
use super::yaml::{Kind, Node, Pair};
use crate::engine::{Ban, BanWhen, Queue, QueueMode, Starts};

/// A `rate_limit` block, key by key.
#[derive(Clone, Debug, Default)]
pub(super) struct LimitSpec {
    /// The line to report for the block as a whole.
    pub(super) line: usize,
    pub(super) unit: Field<String>,
    pub(super) period: Field<PeriodSpec>,
    pub(super) requests: Field<Requests>,
    pub(super) unlimited: Field<bool>,
    pub(super) name: Field<String>,
    pub(super) replaces: Vec<Field<String>>,
    pub(super) algorithm: Field<Kin>,
    pub(super) starts: Field<Starts>,
    pub(super) burst: Field<u32>,
    pub(super) queue: Field<Queue>,
    pub(super) ban: Field<Ban>,
    pub(super) count_denied: Field<bool>,
    pub(super) enabled: Field<bool>,
    pub(super) sharing: Field<Sharing>,
    /// `unit: month` is a month of the calendar.
    pub(super) has_calendar_months: bool,
    /// Without `count_denied`, the hits of denied checks never count.
    pub(super) counts_no_denied: bool,
}

/// The values of `algorithm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kin {
    #[default]
    FixedWindow,
    SlidingWindow,
    SlidingLog,
    TokenBucket,
}

const ALGORITHMS: [(&str, Kin); 4] = [
    ("fixed_window", Kin::FixedWindow),
    ("sliding_window", Kin::SlidingWindow),
    ("sliding_log", Kin::SlidingLog),
    ("token_bucket", Kin::TokenBucket),
];

impl Kin {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, kin)| *kin == self).map_or("", |(name, _)| name)
    }
}

impl LimitSpec {
    /// Adds the keys of one more map. The reference reads a block that is given twice into the same structure, so that the
    /// second adds to the first. Blocks that come from `<<` and are repeated in the descriptor depend on this.
    ///
    /// Returns false if the node is not a map, which has been reported.
    pub(super) fn read(&mut self, node: &Node, report: &mut Report<'_>) -> bool {
        let Kind::Map(pairs) = &node.kind else {
            field::mismatch(node, "config.YamlRateLimit", report);
            return false;
        };
        for Pair { key, value } in pairs {
            if let Some(key) = key.as_text() {
                self.take_pair(key, value, report);
            }
        }
        true
    }

    pub(super) fn take_pair(&mut self, key: &str, value: &Node, report: &mut Report<'_>) {
        match key {
            "unit" => self.unit = field::text(value, report),
            "requests_per_unit" => self.requests = field::requests(value, report),
            "unlimited" => self.unlimited = field::flag(value, report),
            "name" => self.name = field::text(value, report),
            "replaces" => self.replaces = replaces(value, report),
            "period" => self.period = calendar_period::read(value, report),
            "algorithm" => self.algorithm = own::word(value, key, &ALGORITHMS, report),
            "starts" => self.starts = own::word(value, key, &STARTS, report),
            "burst" => self.burst = own::whole(value, key, 1, report),
            "queue" => self.queue = queue(value, report),
            "ban" => self.ban = ban(value, report),
            "count_denied" => self.count_denied = own::flag(value, key, report),
            "enabled" => self.enabled = own::flag(value, key, report),
            "sharing" => self.sharing = sharing::read(value, report),
            _ => {}
        }
    }
}

const STARTS: [(&str, Starts); 2] = [("clock", Starts::Clock), ("first_request", Starts::FirstRequest)];
const MODES: [(&str, QueueMode); 2] = [("hold", QueueMode::Hold), ("advise", QueueMode::Advise)];
const WHEN: [(&str, BanWhen); 2] = [("reached", BanWhen::Reached), ("exceeded", BanWhen::Exceeded)];

fn replaces(node: &Node, report: &mut Report<'_>) -> Vec<Field<String>> {
    let items = field::list(node, "[]config.yamlReplaces", report).unwrap_or_default();
    items.iter().map(|item| replaced(item, report)).collect()
}

fn replaced(item: &Node, report: &mut Report<'_>) -> Field<String> {
    let Kind::Map(pairs) = &item.kind else { return Field::Invalid };
    let mut name = Field::Given(String::new(), item.line);
    for pair in pairs.iter().filter(|pair| pair.key.as_text() == Some("name")) {
        name = field::text(&pair.value, report);
    }
    name
}

/// `queue: 5` or `queue: {size: 5, mode: hold}`.
fn queue(node: &Node, report: &mut Report<'_>) -> Field<Queue> {
    let Kind::Map(pairs) = &node.kind else {
        return match own::integer(node).and_then(|int| u32::try_from(int).ok()) {
            Some(size) => Field::Given(Queue { size, mode: QueueMode::Hold }, node.line),
            None => own::unfit(node, "queue", "a whole number from 0 on or {size: N, mode: hold or advise}", report),
        };
    };
    let mut size = Field::Absent;
    let mut mode = Field::Absent;
    own::map_of(pairs, &["size", "mode"], report, |key, value, report| {
        match key {
            "size" => size = own::whole(value, key, 0, report),
            "mode" => mode = own::word(value, key, &MODES, report),
            _ => return false,
        }
        true
    });
    match (size, mode) {
        (Field::Invalid, _) | (_, Field::Invalid) => Field::Invalid,
        (Field::Absent, _) => own::unfit(node, "queue", "a map with a size, such as {size: 5}", report),
        (Field::Given(size, line), mode) => {
            Field::Given(Queue { size, mode: mode.given().copied().unwrap_or(QueueMode::Hold) }, line)
        }
    }
}

/// `ban: 10s` or `ban: {for: 10s, when: exceeded}`.
fn ban(node: &Node, report: &mut Report<'_>) -> Field<Ban> {
    let Kind::Map(pairs) = &node.kind else {
        return match own::length(node, "ban", report) {
            Field::Given(length, line) => Field::Given(Ban { length, when: BanWhen::Reached }, line),
            Field::Absent => Field::Absent,
            Field::Invalid => Field::Invalid,
        };
    };
    let mut length = Field::Absent;
    let mut when = Field::Absent;
    own::map_of(pairs, &["for", "when"], report, |key, value, report| {
        match key {
            "for" => length = own::length(value, key, report),
            "when" => when = own::word(value, key, &WHEN, report),
            _ => return false,
        }
        true
    });
    match (length, when) {
        (Field::Invalid, _) | (_, Field::Invalid) => Field::Invalid,
        (Field::Absent, _) => own::unfit(node, "ban", "a map with a length, such as {for: 10s}", report),
        (Field::Given(length, line), when) => {
            Field::Given(Ban { length, when: when.given().copied().unwrap_or(BanWhen::Reached) }, line)
        }
    }
}
