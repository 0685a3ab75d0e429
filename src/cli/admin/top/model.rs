//! The state of the view, without IO: events and keys change it, drawing reads it, and the loop asks it what to do next.

mod answers;
mod keyboard;
mod rows;

use std::collections::HashMap;

use super::action::Action;
use super::denials::Denials;
use super::form::Form;
use super::place::Place;
use super::row::{Sort, Target};
use super::survey::Survey;
use super::usage::Usage;
use crate::api::proto::tidegate::v1::{
    ApplicableLimit, DenialReport, ListCountersRequest, ListCountersResponse, ListLimitsResponse, UsageReport,
};
use crate::cli::admin::connection::Failure;
use crate::units::{Nanos, Timestamp};

/// Everything that is shown.
#[allow(clippy::struct_excessive_bools, reason = "each of them is a key's, and independent of the others")]
#[derive(Debug)]
pub(super) struct Model {
    /// The server, as the command line names it.
    pub(super) address: String,
    /// The connection.
    pub(super) link: Link,
    /// What the server reports.
    pub(super) usage: Usage,
    /// Denied checks, while their page is open.
    pub(super) denials: Denials,
    /// What is selected of it.
    pub(super) place: Place,
    /// The page.
    pub(super) page: Page,
    /// What the keys do.
    pub(super) mode: Mode,
    /// Part of the names of rows that are shown; empty: all.
    pub(super) filter: String,
    /// The order of rows.
    pub(super) sort: Sort,
    /// The order is the other way round.
    pub(super) reversed: bool,
    /// Columns with totals have priority over those with rates.
    pub(super) totals: bool,
    /// Nothing that is shown changes.
    pub(super) paused: bool,
    /// The last word about what happened.
    pub(super) message: Option<Message>,
    /// When the server was seen to have started again.
    pub(super) restarted: Option<Timestamp>,
    /// The key by whose values the counters of a rule are grouped; `None`: the first one that differs.
    group_key: Option<String>,
    /// The selected row; `None`: the first one.
    selected: Option<Target>,
    /// Where it was.
    cursor: usize,
    /// The counters of the place.
    counters: Survey,
    /// Those that deny.
    denying: Survey,
    /// Why the server does not list counters.
    no_counters: Option<String>,
    /// Limits by domain, and when they were listed.
    limits: HashMap<String, (Vec<ApplicableLimit>, Timestamp)>,
    polling: Polling,
    confirmed: Option<Action>,
    is_acting: bool,
    has_quit: bool,
}

/// Calls that only look.
#[derive(Debug, Default)]
struct Polling {
    /// When the last one was made.
    last: Option<Timestamp>,
    in_progress: bool,
    /// How long the last one took.
    took: Nanos,
    /// When the server last rejected a list of counters.
    rejected: Option<Timestamp>,
    /// The next list is of those that deny.
    denying_next: bool,
}

/// The connection to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// No report has come yet.
    #[default]
    Connecting,
    /// Reports come.
    Live,
    /// There are none, and it is tried again and again.
    Lost,
}

/// What is in the middle of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// Domains, rules, values, counters: what is in the place.
    #[default]
    Usage,
    /// Keys of all rules of the place.
    Keys,
    /// Bans in the place.
    Bans,
    /// Denied checks as they come.
    Denials,
}

impl Page {
    /// All pages, by the digit that opens them, from 1.
    pub(super) const ALL: [(Self, &'static str); 4] =
        [(Self::Usage, "usage"), (Self::Keys, "keys"), (Self::Bans, "bans"), (Self::Denials, "denials")];
}

/// What the keys do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Mode {
    /// Move and act.
    #[default]
    Browse,
    /// Type the filter.
    Filter,
    /// Fill in a form.
    Form(Form),
    /// Answer the question whether to do it.
    Confirm(Action),
    /// Close the explanation.
    Help,
}

/// A line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The words.
    pub(super) text: String,
    /// Something failed.
    pub(super) is_error: bool,
}

/// What came from the server.
#[derive(Debug)]
pub(super) enum Event {
    /// Usage of a place.
    Report(Place, Box<UsageReport>),
    /// Denied checks of a place.
    Denied(Place, DenialReport),
    /// A stream ended.
    Lost(Failure),
    /// A page of counters.
    Counters(ListCountersRequest, Result<ListCountersResponse, Failure>),
    /// The limits of a domain.
    Limits(String, Result<ListLimitsResponse, Failure>),
    /// The end of an action, in words.
    Acted(Result<String, Failure>),
}

/// A call to make.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    /// List counters.
    Counters(ListCountersRequest),
    /// List the limits of a domain.
    Limits(String),
    /// Change something.
    Act(Action),
}

impl Model {
    /// A view without any data.
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            link: Link::default(),
            usage: Usage::default(),
            denials: Denials::default(),
            place: Place::default(),
            page: Page::default(),
            mode: Mode::default(),
            filter: String::new(),
            sort: Sort::default(),
            reversed: false,
            totals: false,
            paused: false,
            message: None,
            restarted: None,
            group_key: None,
            selected: None,
            cursor: 0,
            counters: Survey::default(),
            denying: Survey::default(),
            no_counters: None,
            limits: HashMap::new(),
            polling: Polling::default(),
            confirmed: None,
            is_acting: false,
            has_quit: false,
        }
    }

    /// Whether the view is to be closed.
    pub(super) fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// Whether denied checks are to be streamed.
    pub(super) fn wants_denials(&self) -> bool {
        self.page == Page::Denials && !self.paused
    }

    fn say(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), is_error: false });
    }

    fn complain(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), is_error: true });
    }

    /// Goes somewhere else: what is known of the old place is shown until the server has answered.
    fn go(&mut self, place: Place) {
        if place == self.place {
            return;
        }
        self.place = place;
        self.usage.leave();
        self.denials.clear();
        (self.selected, self.cursor, self.group_key) = (None, 0, None);
        self.filter.clear();
    }

    fn open_page(&mut self, page: Page) {
        self.page = page;
        (self.selected, self.cursor) = (None, 0);
        self.filter.clear();
    }
}

#[cfg(test)]
mod tests;
