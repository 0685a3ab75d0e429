//! Conversions between recorded checks as messages and [`Check`].

use super::proto::tidegate::v1;
use super::usage::{length, read_length, time};
use crate::limiter::{Check, Descriptor, Override};
use crate::rules::{Entry, Period, Unit};
use crate::units::Timestamp;

/// The message of a check that was decided at `at`.
pub fn write_recorded(at: Timestamp, check: &Check<'_>) -> v1::RecordedCheck {
    v1::RecordedCheck {
        time: Some(time(at)),
        domain: check.domain.clone().into_owned(),
        descriptors: check.descriptors.iter().map(descriptor).collect(),
        hits_addend: check.hits_addend,
        timeout: check.timeout.map(length),
    }
}

fn descriptor(descriptor: &Descriptor<'_>) -> v1::recorded_check::Descriptor {
    let entry = |entry: &Entry<'_>| v1::Entry { key: entry.key.to_string(), value: entry.value.to_string() };
    v1::recorded_check::Descriptor {
        entries: descriptor.entries.iter().map(entry).collect(),
        hits: descriptor.hits,
        negative: descriptor.refund,
        limit: descriptor.limit.map(|limit| v1::recorded_check::Override {
            requests_per_unit: limit.requests_per_unit,
            unit: limit.period.and_then(|period| period.unit).map_or(UNKNOWN, Unit::name).to_owned(),
            unit_multiplier: limit.period.map_or(0, |period| period.multiplier),
        }),
    }
}

/// Reads the message of a check, and the instant at which it was decided; `None` if it has no time, or a timeout that cannot be
/// one.
pub fn read_recorded(message: &v1::RecordedCheck) -> Option<(Timestamp, Check<'_>)> {
    let at = message.time?;
    let since_epoch = read_length(prost_types::Duration { seconds: at.seconds, nanos: at.nanos })?;
    let timeout = message.timeout.map_or(Some(None), |timeout| read_length(timeout).map(Some))?;
    let check = Check {
        domain: message.domain.as_str().into(),
        descriptors: message.descriptors.iter().map(read_descriptor).collect(),
        hits_addend: message.hits_addend,
        timeout,
    };
    Some((Timestamp::EPOCH.plus(since_epoch), check))
}

fn read_descriptor(message: &v1::recorded_check::Descriptor) -> Descriptor<'_> {
    let entry = |entry: &'_ v1::Entry| Entry { key: entry.key.clone().into(), value: entry.value.clone().into() };
    Descriptor {
        entries: message.entries.iter().map(entry).collect(),
        limit: message.limit.as_ref().map(|limit| {
            let unit = Unit::ALL.into_iter().find(|unit| unit.name() == limit.unit);
            let period = unit.map(|unit| Period::from_units(unit, limit.unit_multiplier));
            Override { requests_per_unit: limit.requests_per_unit, period }
        }),
        hits: message.hits,
        refund: message.negative,
    }
}

/// The unit of a limit that is ignored, because its unit is not known.
const UNKNOWN: &str = "UNKNOWN";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    #[test]
    fn what_is_written_is_read_again() {
        let entries = || [Entry { key: "k".into(), value: "v".into() }].into_iter().collect();
        let limit = |period| Some(Override { requests_per_unit: 5, period });
        let check = Check {
            domain: "d".into(),
            hits_addend: 7,
            timeout: Some(Nanos::from_ns(20_000_001)),
            descriptors: [
                Descriptor { entries: entries(), ..Descriptor::default() },
                Descriptor { hits: Some(0), refund: true, limit: limit(None), ..Descriptor::default() },
                Descriptor { limit: limit(Some(Period::from_units(Unit::Hour, 3))), ..Descriptor::default() },
            ]
            .into_iter()
            .collect(),
        };
        let at = Timestamp::from_ns(1_795_665_600_123_456_789);
        let message = write_recorded(at, &check);
        let (read_at, read) = read_recorded(&message).unwrap();
        assert_eq!((read_at, format!("{read:?}")), (at, format!("{check:?}")));
        assert!(read_recorded(&v1::RecordedCheck { time: None, ..message.clone() }).is_none());
    }
}
