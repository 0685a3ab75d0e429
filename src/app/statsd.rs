//! Pushing to a statsd, if there is one.

use std::io;
use std::sync::Arc;

use super::metrics::Sources;
use crate::settings::Settings;
use crate::telemetry::{Statsd, StatsdStatus, StatsdTarget};

/// Starts to push, and adds to the metrics how that goes.
///
/// # Errors
/// The system has no thread left.
pub(super) fn start(settings: &Settings, sources: &mut Sources) -> io::Result<Option<Statsd>> {
    let Some(url) = settings.statsd.statsd.clone() else { return Ok(None) };
    let target = StatsdTarget {
        url,
        format: settings.statsd.statsd_format,
        interval: settings.statsd.statsd_interval,
        tags: settings.reference.statsd_tags.clone().unwrap_or_else(|| settings.listen.metrics_label.clone()),
        renames: settings.reference.statsd_renames.clone(),
    };
    tracing::info!("pushing statistics to {} every {:?}", target.url, target.interval);
    let status = Arc::<StatsdStatus>::default();
    sources.statsd = Some(Arc::clone(&status));
    let sources = sources.clone();
    Statsd::start(target, status, move || sources.snapshot()).map(Some)
}
