//! Callers without a valid token: counted, logged, and limited by address, with the engine that limits everybody else.
//!
//! A valid token is always accepted: guesses from an address do not lock out those who share it, and guessing a token of 256
//! random bits is hopeless at any rate. The limit bounds the log and the work.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Algorithm, CountDenied, Limit, Op, Starts};
use crate::store::{Charge, CounterKey, LimitId, Memory, WhenFull};
use crate::units::{Nanos, Timestamp};

/// Counts rejected requests, and limits them by address.
#[derive(Debug)]
pub(crate) struct FailedLogins {
    store: Memory,
    counts: Arc<FailureCounts>,
}

/// Rejected requests since the start, by reason.
#[derive(Debug, Default)]
pub(crate) struct FailureCounts {
    /// Without a token.
    pub(crate) no_token: AtomicU64,
    /// With one that is not known.
    pub(crate) unknown_token: AtomicU64,
    /// With one whose role or domains do not allow it.
    pub(crate) not_allowed: AtomicU64,
    /// For a name of the host that is not this server's.
    pub(crate) foreign_host: AtomicU64,
}

impl FailedLogins {
    /// Without failures so far.
    pub(crate) fn new() -> Self {
        Self { store: Memory::new(MAX_BYTES, WhenFull::Deny), counts: Arc::default() }
    }

    /// The counts.
    pub(crate) fn counts(&self) -> &Arc<FailureCounts> {
        &self.counts
    }

    /// Charges one failure to an address. `Err`: it has too many; the time after which the next one is looked at.
    pub(crate) fn charge(&self, now: Timestamp, address: Option<IpAddr>) -> Result<(), Nanos> {
        let mut key = CounterKey::new(LimitId::OVERRIDE);
        match address.map(network) {
            Some(IpAddr::V4(address)) => key.push(&address.octets()),
            Some(IpAddr::V6(address)) => key.push(&address.octets()),
            None => key.push(&[]),
        }
        // Counters of other addresses that have expired make room.
        self.store.sweep_step(now);
        let outcome = self.store.charge(now, &Charge { limit: &LIMIT, key: key.as_bytes(), op: Op::Charge(1) }).outcome;
        if outcome.admitted() { Ok(()) } else { Err(outcome.reset) }
    }
}

impl FailureCounts {
    /// Adds one.
    pub(crate) fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts, by reason.
    pub(crate) fn by_reason(&self) -> Vec<(&'static str, u64)> {
        let counts = [
            ("no_token", &self.no_token),
            ("unknown_token", &self.unknown_token),
            ("not_allowed", &self.not_allowed),
            ("foreign_host", &self.foreign_host),
        ];
        counts.into_iter().map(|(reason, count)| (reason, count.load(Ordering::Relaxed))).collect()
    }
}

/// One caller usually has a whole network of IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

/// Failures that an address may have in a minute.
const LIMIT: Limit = Limit {
    max: 20,
    window: Nanos::from_secs(60),
    algorithm: Algorithm::FixedWindow { starts: Starts::FirstRequest },
    ban: None,
    count_denied: CountDenied::Alone,
};
/// Some 10,000 addresses; from further ones, failures are rejected without a line in the log.
const MAX_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_number_of_failures_in_a_minute() {
        let failed = FailedLogins::new();
        let now = Timestamp::from_ns(1_000_000_000_000);
        let at = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for _ in 0..20 {
            assert_eq!(failed.charge(now, at("10.0.0.1")), Ok(()));
        }
        assert_eq!(failed.charge(now, at("10.0.0.1")), Err(Nanos::from_secs(60)));
        assert_eq!(failed.charge(now, at("::ffff:10.0.0.1")), Err(Nanos::from_secs(60)), "the same address");
        assert_eq!(failed.charge(now, at("10.0.0.2")), Ok(()));
        let later = now.plus(Nanos::from_secs(60));
        assert_eq!(failed.charge(later, at("10.0.0.1")), Ok(()));
        for n in 0..20 {
            assert_eq!(failed.charge(now, at(&format!("2001:db8::{n}"))), Ok(()));
        }
        assert!(failed.charge(now, at("2001:db8::ffff")).is_err(), "one network");
        assert_eq!(failed.charge(now, None), Ok(()));
    }

    #[test]
    fn any_number_of_addresses_takes_bounded_memory() {
        let failed = FailedLogins::new();
        let now = Timestamp::from_ns(1_000_000_000_000);
        let rejected = (0..50_000_u32).filter(|n| failed.charge(now, Some(IpAddr::V4((*n).into()))).is_err()).count();
        assert!(rejected > 0 && failed.store.occupancy().bytes <= 2 * MAX_BYTES);
    }
}
