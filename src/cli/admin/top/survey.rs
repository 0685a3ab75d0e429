//! Counters as the server lists them: page after page, while the result of the pass before is shown.

use crate::api::proto::tidegate::v1::{Counter, ListCountersRequest, ListCountersResponse};
use crate::cli::admin::counters::merge;
use crate::units::Timestamp;

/// The counters that match a request: the most used ones, found again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// With the token of the next page.
    request: ListCountersRequest,
    /// The pages of this pass.
    pages: ListCountersResponse,
    /// The last complete pass, and when it ended.
    complete: Option<(ListCountersResponse, Timestamp)>,
}

impl Survey {
    /// The request for the next page of what `wanted` asks for. Another one than before begins a new survey.
    pub(super) fn next(&mut self, wanted: ListCountersRequest) -> ListCountersRequest {
        if !self.is_of(&wanted) {
            *self = Self { request: wanted, ..Self::default() };
        }
        self.request.clone()
    }

    /// Adds a page. That of another request is ignored.
    pub(super) fn add(&mut self, asked: &ListCountersRequest, page: ListCountersResponse, now: Timestamp) {
        if *asked != self.request {
            return;
        }
        let token = merge(&mut self.pages, page, self.request.top);
        // A token that does not change would never end.
        if token.is_empty() || token == self.request.page_token {
            self.complete = Some((std::mem::take(&mut self.pages), now));
            self.request.page_token.clear();
        } else {
            self.request.page_token = token;
        }
    }

    /// Forgets what was found.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The result, if it is of `wanted`: of the last complete pass, else of the first pages.
    pub(super) fn found(&self, wanted: &ListCountersRequest) -> Option<&ListCountersResponse> {
        let complete = self.complete.as_ref().map(|(complete, _)| complete);
        let pages = Some(&self.pages).filter(|pages| pages.progress > 0.0);
        complete.or(pages).filter(|_| self.is_of(wanted))
    }

    /// The counters of the result.
    pub(super) fn counters(&self, wanted: &ListCountersRequest) -> &[Counter] {
        self.found(wanted).map(|found| &*found.counters).unwrap_or_default()
    }

    /// When the result was complete; `None`: it is not.
    pub(super) fn completed(&self) -> Option<Timestamp> {
        self.complete.as_ref().map(|(_, at)| *at)
    }

    fn is_of(&self, wanted: &ListCountersRequest) -> bool {
        let own = &self.request;
        (&own.domain, &own.rule, &own.entries, own.denied, own.top)
            == (&wanted.domain, &wanted.rule, &wanted.entries, wanted.denied, wanted.top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(used: u64, progress: f64, token: &str) -> ListCountersResponse {
        let counters = vec![Counter { used, ..Counter::default() }];
        ListCountersResponse { counters, matched: 1, progress, next_page_token: token.into(), ..Default::default() }
    }

    fn request(domain: &str) -> ListCountersRequest {
        ListCountersRequest { domain: domain.into(), top: 2, ..ListCountersRequest::default() }
    }

    #[test]
    fn pages_become_a_result_that_stays_until_the_next_one_is_complete() {
        let (mut survey, wanted) = (Survey::default(), request("api"));
        let mut steps = [
            (page(5, 0.4, "a"), vec![5], false),
            (page(7, 0.8, "b"), vec![7, 5], false),
            (page(6, 1.0, ""), vec![7, 6], true),
            (page(1, 0.5, "a"), vec![7, 6], true),
            (page(2, 1.0, ""), vec![2, 1], true),
            // Twice the same token.
            (page(3, 0.5, "a"), vec![2, 1], true),
            (page(4, 0.5, "a"), vec![4, 3], true),
        ]
        .into_iter();
        assert!(survey.found(&wanted).is_none());
        for (page, expected, complete) in steps.by_ref() {
            let asked = survey.next(wanted.clone());
            survey.add(&asked, page, Timestamp::from_ns(1));
            let used: Vec<_> = survey.counters(&wanted).iter().map(|counter| counter.used).collect();
            assert_eq!((used, survey.completed().is_some()), (expected, complete));
        }
        // Somewhere else, nothing is known, and a page that was asked for before is not of it.
        let late = survey.next(wanted.clone());
        let elsewhere = request("shop");
        assert!(survey.found(&elsewhere).is_none());
        survey.next(elsewhere.clone());
        survey.add(&late, page(9, 1.0, ""), Timestamp::from_ns(2));
        assert!(survey.found(&elsewhere).is_none() && survey.found(&wanted).is_none());
    }
}
