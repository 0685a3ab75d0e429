//! What is known of the control plane, for metrics, `/readyz` and the dump at the admin port.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::sanitize::sanitize;
use crate::units::{Nanos, Timestamp};

/// How it goes with the control plane.
#[derive(Debug, Default)]
pub(crate) struct XdsStatus {
    connected: AtomicBool,
    streams: AtomicU64,
    failures: AtomicU64,
    acks: AtomicU64,
    nacks: AtomicU64,
    outdated: AtomicU64,
    missing: AtomicU64,
    received: ArcSwapOption<Received>,
}

/// The set that was received last.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Its version, safe to show.
    pub(crate) version: String,
    /// When it was received last, again and again if it was sent so.
    pub(crate) at: Timestamp,
    /// Its configurations.
    pub(crate) configs: Arc<Vec<ReceivedConfig>>,
    /// What is wrong with it, as in the NACK.
    pub(crate) errors: Arc<Vec<String>>,
}

/// One configuration of a set.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedConfig {
    /// The name of the resource.
    pub(crate) name: String,
    /// Its domain; empty: not known.
    pub(crate) domain: String,
    /// It as a rules file, or why it cannot be read.
    pub(crate) content: Result<String, String>,
}

impl XdsStatus {
    /// A connection was made, and a stream begins.
    pub(super) fn note_stream(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
    }

    /// The stream ended, or no connection was made.
    pub(super) fn note_end(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.connected.store(false, Ordering::Relaxed);
    }

    pub(super) fn note_ack(&self) {
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_nack(&self) {
        self.nacks.fetch_add(1, Ordering::Relaxed);
    }

    /// A set was looked at.
    pub(super) fn note_set(&self, received: Received, outdated: usize, missing: usize) {
        self.outdated.store(outdated as u64, Ordering::Relaxed);
        self.missing.store(missing as u64, Ordering::Relaxed);
        self.received.store(Some(Arc::new(received)));
    }

    /// The same set has been received once more.
    pub(super) fn note_again(&self, version: String, at: Timestamp) {
        if let Some(before) = self.received() {
            let (configs, errors) = (Arc::clone(&before.configs), Arc::clone(&before.errors));
            self.received.store(Some(Arc::new(Received { version, at, configs, errors })));
        }
    }

    /// The set that was received last; `None`: none was.
    pub(crate) fn received(&self) -> Option<Arc<Received>> {
        self.received.load_full()
    }

    /// Whether there is a stream.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Streams that began.
    pub(crate) fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Streams that ended, and connections that could not be made.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Sets that were accepted.
    pub(crate) fn acks(&self) -> u64 {
        self.acks.load(Ordering::Relaxed)
    }

    /// Sets that were rejected, in whole or in part.
    pub(crate) fn nacks(&self) -> u64 {
        self.nacks.load(Ordering::Relaxed)
    }

    /// Domains that keep rules from before, because those of the last set have errors.
    pub(crate) fn outdated(&self) -> u64 {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Domains of the last set that have errors, and no rules from before.
    pub(crate) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// The set that was received last, as YAML documents: those whose domain is `shown`.
    pub(crate) fn dump(&self, now: Timestamp, shown: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _written = self.write_dump(&mut text, now, shown);
        text
    }

    fn write_dump(&self, text: &mut String, now: Timestamp, shown: impl Fn(&str) -> bool) -> fmt::Result {
        let Some(received) = self.received() else {
            return writeln!(text, "# no set has been received from the control plane since the start");
        };
        let Received { version, at, configs, errors } = &*received;
        let age = Nanos::as_secs_ceil(now.since(*at));
        writeln!(text, "# version '{version}', received {age} s ago, configurations: {}", configs.len())?;
        if !errors.is_empty() {
            writeln!(text, "# rejected, in whole or in part: domains with errors keep the rules that they had")?;
        }
        for ReceivedConfig { name, domain, content } in configs.iter().filter(|config| shown(&config.domain)) {
            writeln!(text, "---\n# {name}")?;
            let begins = |error: &&String| error.strip_prefix(&**name).is_some_and(|rest| rest.starts_with(':'));
            for error in errors.iter().filter(begins) {
                writeln!(text, "# error: {}", sanitize(error))?;
            }
            match content {
                Ok(content) => text.push_str(content),
                Err(_) => writeln!(text, "# domain: {}", sanitize(domain))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_has_the_texts_and_what_is_wrong_with_them() {
        let status = XdsStatus::default();
        assert!(status.dump(Timestamp::from_ns(0), |_| true).starts_with("# no set"));
        let config = |name: &str, content: Result<&str, &str>| ReceivedConfig {
            name: name.to_owned(),
            domain: name.to_owned(),
            content: content.map(str::to_owned).map_err(str::to_owned),
        };
        let configs = vec![config("a", Ok("domain: a\n")), config("b", Err("cannot be read"))];
        let errors = vec!["b: cannot be read".to_owned()];
        let at = Timestamp::from_ns(0);
        status.note_set(
            Received { version: "7".to_owned(), at, configs: Arc::new(configs), errors: Arc::new(errors) },
            0,
            1,
        );
        let text = status.dump(at.plus(Nanos::from_secs(2)), |_| true);
        assert_eq!(
            text,
            "# version '7', received 2 s ago, configurations: 2\n\
             # rejected, in whole or in part: domains with errors keep the rules that they had\n\
             ---\n# a\ndomain: a\n---\n# b\n# error: b: cannot be read\n# domain: b\n"
        );
        assert!(!status.dump(at, |domain| domain == "a").contains("# b"));
    }
}
