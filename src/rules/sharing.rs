//! `sharing` as written: how the counters of a limit are shared by several replicas, where they have a store.

use super::field::Field;
use super::own;
use super::report::Report;
use super::yaml::{Kind, Node};
use crate::engine::WhenDown;

/// `sharing` as configured. What a limit does not say, the top level of its file says; what that does not say is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// How hits are counted; by default they are leased.
    pub mode: Option<SharingMode>,
    /// What decides while the store is down; by default what the process is started with.
    pub when_down: Option<WhenDown>,
    /// In a cluster: counters of a check with the same value of the entry with this key are in one slot.
    pub slot: Option<String>,
}

/// How the hits of a limit are counted by several replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharingMode {
    /// Each replica has counters of its own.
    Local,
    /// Each hit is charged in the store.
    Exact,
    /// Replicas lease parts of the limit, where it can be lent, and otherwise charge each hit.
    #[default]
    Leased,
}

impl Sharing {
    /// What is said here, and for the rest what `other` says.
    pub(super) fn over(&self, other: &Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            when_down: self.when_down.or(other.when_down),
            slot: self.slot.as_ref().or(other.slot.as_ref()).cloned(),
        }
    }

    /// Whether nothing is said.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl SharingMode {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Exact => "exact",
            Self::Leased => "leased",
        }
    }
}

/// Reads `sharing: leased` or `sharing: {mode: leased, when_down: deny, slot: tenant}`.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Field<Sharing> {
    let Kind::Map(pairs) = &node.kind else {
        return match own::word(node, "sharing", &MODES, report) {
            Field::Given(mode, line) => Field::Given(Sharing { mode: Some(mode), ..Sharing::default() }, line),
            Field::Absent => Field::Absent,
            Field::Invalid => Field::Invalid,
        };
    };
    let (mut mode, mut when_down, mut slot) = (Field::Absent, Field::Absent, Field::Absent);
    own::map_of(pairs, &["mode", "when_down", "slot"], report, |key, value, report| {
        match key {
            "mode" => mode = own::word(value, key, &MODES, report),
            "when_down" => when_down = own::word(value, key, &WHEN_DOWN, report),
            "slot" => slot = slot_key(value, report),
            _ => return false,
        }
        true
    });
    if mode.is_invalid() || when_down.is_invalid() || slot.is_invalid() {
        return Field::Invalid;
    }
    let sharing =
        Sharing { mode: mode.given().copied(), when_down: when_down.given().copied(), slot: slot.given().cloned() };
    match (sharing.is_default(), pairs.is_empty()) {
        (true, true) => own::unfit(node, "sharing", "a map with mode, when_down or slot", report),
        (true, false) => Field::Absent,
        (false, _) => Field::Given(sharing, node.line),
    }
}

fn slot_key(node: &Node, report: &mut Report<'_>) -> Field<String> {
    match own::text(node, "slot", report) {
        Field::Given(key, _) if key.is_empty() => own::unfit(node, "slot", "the key of an entry", report),
        field => field,
    }
}

const MODES: [(&str, SharingMode); 3] =
    [("local", SharingMode::Local), ("exact", SharingMode::Exact), ("leased", SharingMode::Leased)];
const WHEN_DOWN: [(&str, WhenDown); 3] =
    [("local", WhenDown::Local), ("deny", WhenDown::Deny), ("allow", WhenDown::Allow)];
