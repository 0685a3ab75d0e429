//! Explanations.

use tonic::Status;

use super::messages::{counter, read_descriptor};
use super::settings;
use crate::api::proto::tidegate::v1 as proto;
use crate::api::usage::length;
use crate::limiter::ExplainedLimit;
use crate::operations::{Operations, how};

pub(super) fn explain(
    operations: &Operations,
    request: proto::ExplainRequest,
) -> Result<proto::ExplainResponse, Status> {
    if request.domain.is_empty() || request.entries.is_empty() {
        return Err(Status::invalid_argument("give a domain, and the entries of one descriptor"));
    }
    let asked = request.entries.clone();
    let entries = read_descriptor(request.entries)?;
    let hits = request.hits.max(1);
    let explained = operations
        .explain(&request.domain, &entries, hits)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let steps = asked.into_iter().zip(explained.steps).map(|(entry, step)| proto::ExplainStep {
        entry: Some(entry),
        matched: step.text,
        how: how(step.how).to_owned(),
    });
    let near_misses = explained.near_misses.into_iter().map(|(rule, why)| proto::NearMiss { rule, why });
    let settings =
        operations.read_settings(|book| explained.settings.iter().map(|one| settings::write(book, one)).collect());
    Ok(proto::ExplainResponse {
        steps: steps.collect(),
        rule: explained.rule.unwrap_or_default(),
        why: explained.why,
        near_misses: near_misses.collect(),
        limits: explained.limits.into_iter().map(write_limit).collect(),
        over_limit: explained.over_limit,
        settings,
        shadow_mode: explained.shadow_mode,
    })
}

fn write_limit((limit, source): (ExplainedLimit, String)) -> proto::ExplainedLimit {
    proto::ExplainedLimit {
        words: limit.words,
        counter: Some(counter(limit.counter)),
        admits: limit.admits || !limit.enabled,
        delay: Some(length(limit.delay)),
        source,
    }
}
