//! The rules that the control plane sends, on their way into force.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::acceptance::{self, Accepted, Load, Outcome};
use super::kept::KeptSet;
use super::overlay::OverlaySource;
use super::resources::{self, Resource};
use super::response::{MAX_RESOURCES, Response};
use super::status::{Received, ReceivedConfig, XdsStatus};
use crate::config::{Loaded, Publisher};
use crate::rules::{ConfigError, LoadOptions, RuleSet};
use crate::runtime::clock::Clock;
use crate::runtime::small_files::{ContentDigest, digest};
use crate::sanitize::sanitize;

/// Puts the sets of the control plane in force.
#[derive(Debug)]
pub(crate) struct XdsRules {
    /// How the log names the control plane.
    from: String,
    options: LoadOptions,
    /// Whether the process is in shadow mode, for the log.
    shadow_mode: bool,
    publisher: Arc<Publisher>,
    clock: Arc<Clock>,
    kept: Option<KeptSet>,
    /// What is laid over the rules.
    overlay: Option<OverlaySource>,
    status: Arc<XdsStatus>,
    /// One set at a time.
    work: Mutex<Work>,
    /// Whether rules are in force.
    in_force: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Work {
    accepted: Accepted,
    /// The set that was looked at last.
    last: Option<(ContentDigest, Verdict)>,
    /// The errors that were logged last.
    logged: Vec<String>,
}

/// What the control plane is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The set is in force.
    Accepted,
    /// Not all of it is.
    Rejected {
        /// Every error, in a message of bounded length.
        message: String,
        /// The same set was rejected before, and nothing else received since.
        again: bool,
    },
}

impl XdsRules {
    /// Nothing is in force yet.
    pub(crate) fn new(
        from: String,
        options: LoadOptions,
        publisher: Arc<Publisher>,
        clock: Arc<Clock>,
        kept: Option<KeptSet>,
    ) -> Self {
        let (status, in_force) = (Arc::default(), watch::Sender::new(false));
        let work = Mutex::default();
        Self { from, options, shadow_mode: false, publisher, clock, kept, overlay: None, status, work, in_force }
    }

    /// Marks the process as being in shadow mode, which the log then shows at every load.
    #[must_use]
    pub(crate) fn with_shadow_mode(self, shadow_mode: bool) -> Self {
        Self { shadow_mode, ..self }
    }

    /// The same, with keys that are laid over the rules.
    #[must_use]
    pub(crate) fn with_overlay(self, overlay: Option<OverlaySource>) -> Self {
        Self { overlay, ..self }
    }

    /// Whether there is something to lay over the rules.
    pub(crate) fn has_overlay(&self) -> bool {
        self.overlay.is_some()
    }

    /// Reads the overlay again if it has changed, and puts the rules in force with it. Blocks.
    pub(crate) fn refresh_overlay(&self) {
        let Some(overlay) = &self.overlay else { return };
        let mut work = self.work.lock();
        let mut loaded = None;
        let outcome = overlay.refresh(|overlay| {
            let load = Load { options: self.options, overlay: Some(overlay) };
            let rules = work.accepted.load(load);
            let errors = |errors: Vec<ConfigError>| errors.iter().map(ToString::to_string).collect();
            rules.map(|rules| loaded = Some(rules)).map_err(errors)
        });
        match outcome {
            None => {}
            Some(Ok(())) => {
                // What was rejected with the overlay before may be accepted with this one.
                work.last = None;
                if let Some(rules) = loaded.filter(|_| *self.in_force.borrow()) {
                    let accepted = std::mem::take(&mut work.accepted);
                    self.publish(&mut work, accepted, rules, "the control plane, with another overlay");
                }
            }
            Some(Err(errors)) => {
                for error in errors.iter().take(MAX_LOGGED) {
                    tracing::error!("{}", sanitize(error));
                }
                tracing::error!(
                    errors = errors.len(),
                    "the overlay cannot be used; that before its last change is in force"
                );
            }
        }
    }

    /// How it goes with the control plane.
    pub(crate) fn status(&self) -> &Arc<XdsStatus> {
        &self.status
    }

    /// Waits until rules are in force.
    pub(crate) fn in_force(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut in_force = self.in_force.subscribe();
        async move {
            // An error means that the sender was dropped, because the process ends.
            let _ended = in_force.wait_for(|in_force| *in_force).await;
        }
    }

    /// Puts in force what was kept in the data directory, if there is something. Blocks.
    pub(crate) fn restore(&self) {
        let Some(kept) = &self.kept else { return };
        let accepted = match kept.load() {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return,
            Err(error) => return tracing::error!("the set of the last run cannot be used: {error}"),
        };
        let overlay = self.overlay.as_ref().map(OverlaySource::current);
        match accepted.load(Load { options: self.options, overlay: overlay.as_deref() }) {
            Ok(rules) => {
                let mut work = self.work.lock();
                self.publish(&mut work, accepted, rules, "the data directory, until the control plane answers");
            }
            Err(errors) => {
                let first = errors.first().map(ToString::to_string).unwrap_or_default();
                tracing::error!(errors = errors.len(), "the set of the last run does not load: {first}");
            }
        }
    }

    /// Looks at a response, and puts in force what of it can be. Blocks for as long as parsing takes.
    pub(super) fn take(&self, response: &Response) -> Verdict {
        let Response { message, resources } = response;
        let mut work = self.work.lock();
        let (content, version) = (identity(response), sanitize(&message.version_info));
        if let Some((_, verdict)) = work.last.as_ref().filter(|(last, _)| *last == content) {
            self.status.note_again(version, self.clock.now());
            return match verdict.clone() {
                Verdict::Accepted => Verdict::Accepted,
                Verdict::Rejected { message, .. } => Verdict::Rejected { message, again: true },
            };
        }
        let resources = if *resources > MAX_RESOURCES {
            let why = format!("{resources} resources, at most {MAX_RESOURCES} are allowed");
            vec![Resource { name: "the set".to_owned(), domain: String::new(), content: Err(why) }]
        } else {
            resources::read(&message.resources)
        };
        let verdict = self.accept(&mut work, version, resources);
        work.last = Some((content, verdict.clone()));
        verdict
    }

    fn accept(&self, work: &mut Work, version: String, resources: Vec<Resource>) -> Verdict {
        let overlay = self.overlay.as_ref().map(OverlaySource::current);
        let load = Load { options: self.options, overlay: overlay.as_deref() };
        let Outcome { next, errors, outdated, missing } = acceptance::accept(&resources, &work.accepted, load);
        let is_changed = next.is_some();
        if let Some((accepted, rules)) = next {
            self.publish(work, accepted, rules, &format!("{}, version '{version}'", self.from));
            self.keep(&work.accepted);
        }
        let config = |Resource { name, domain, content }| ReceivedConfig { name, domain, content };
        let received = Received {
            version,
            at: self.clock.now(),
            configs: Arc::new(resources.into_iter().map(config).collect()),
            errors: Arc::new(errors.iter().take(MAX_ERRORS).cloned().collect()),
        };
        self.status.note_set(received, outdated.len(), missing.len());
        if errors.is_empty() && is_changed {
            work.logged.clear();
            return Verdict::Accepted;
        }
        let message = message(&errors);
        self.publisher.reject(bounded(&errors, MAX_ERRORS));
        work.log(&errors, &outdated, &missing);
        Verdict::Rejected { message, again: false }
    }

    fn publish(&self, work: &mut Work, accepted: Accepted, rules: RuleSet, from: &str) {
        for warning in rules.warnings().iter().take(MAX_LOGGED) {
            tracing::warn!("{warning}");
        }
        let loaded: Loaded = self.publisher.publish(accepted.files.len(), rules);
        loaded.log(&from, self.shadow_mode);
        work.accepted = accepted;
        self.in_force.send_replace(true);
    }

    fn keep(&self, accepted: &Accepted) {
        let Some(kept) = &self.kept else { return };
        if let Err(error) = kept.save(accepted) {
            tracing::error!(
                %error,
                "cannot keep the set in --data-dir: a start without the control plane would have the rules of an earlier set"
            );
        }
    }
}

impl Work {
    /// Logs what is wrong with a set, unless that is what was logged last.
    fn log(&mut self, errors: &[String], outdated: &[String], missing: &[String]) {
        let shown = bounded(errors, MAX_LOGGED);
        if shown == self.logged {
            return;
        }
        for error in &shown {
            tracing::error!("{}", sanitize(error));
        }
        let names = |domains: &[String]| {
            let shown = bounded(domains, MAX_LOGGED).join(", ");
            (!domains.is_empty()).then(|| sanitize(&shown))
        };
        tracing::error!(
            errors = errors.len(),
            domains_with_former_rules = names(outdated),
            domains_without_rules = names(missing),
            "a set of the control plane was rejected in whole or in part; it is logged again when its errors change"
        );
        self.logged = shown;
    }
}

/// The same for each response with the same resources, in whatever order.
fn identity(Response { message, resources }: &Response) -> ContentDigest {
    let one = |resource: &prost_types::Any| digest([resource.type_url.as_bytes(), &*resource.value]);
    let mut digests: Vec<_> = message.resources.iter().map(one).collect();
    digests.sort_unstable();
    // One whose resources are too many has none of them.
    let count = resources.to_le_bytes();
    digest(digests.iter().map(|digest| &digest[..]).chain([&count[..]]))
}

/// The message of a NACK: every error, as far as they fit.
fn message(errors: &[String]) -> String {
    let mut message = String::new();
    for (place, error) in errors.iter().enumerate() {
        let more = errors.len().saturating_sub(place);
        if message.len().saturating_add(error.len()) > MAX_MESSAGE_BYTES {
            return message + &format!("and {more} more errors");
        }
        message.push_str(error);
        message.push('\n');
    }
    message.truncate(message.trim_end().len());
    message
}

/// The first texts, and how many more there are.
fn bounded(texts: &[String], most: usize) -> Vec<String> {
    let mut shown: Vec<_> = texts.iter().take(most).cloned().collect();
    if let Some(more @ 1..) = texts.len().checked_sub(most) {
        shown.push(format!("and {more} more"));
    }
    shown
}

/// More errors than that help nobody, and they stay in memory until the next set.
const MAX_ERRORS: usize = 1_000;
/// Of one set; the dump at the admin port has more.
const MAX_LOGGED: usize = 20;
/// A control plane logs the whole message.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_nack_is_bounded() {
        let errors = |count: usize| vec!["x".repeat(100); count];
        assert_eq!(message(&errors(2)), format!("{0}\n{0}", "x".repeat(100)));
        let long = message(&errors(1_000));
        assert!(long.len() <= MAX_MESSAGE_BYTES + 100 && long.ends_with("and 838 more errors"), "{long}");
    }

    #[test]
    fn errors_are_bounded() {
        let texts: Vec<_> = (0..5).map(|n| n.to_string()).collect();
        assert_eq!(bounded(&texts, 3), ["0", "1", "2", "and 2 more"]);
        assert_eq!(bounded(&texts, 5).len(), 5);
    }
}
