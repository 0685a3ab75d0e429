//! The content of checks: keys and their distribution, and the rules for them.

use std::fmt::Write;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// The content of each check.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traffic {
    /// The domain of the rules.
    pub domain: String,
    /// The number of descriptors of each check, from 1; each has a key of its own.
    pub descriptors: usize,
    /// The number of entries of each descriptor, from 1: `k0`, `k1` and so on, all with the key as their value.
    pub entries: usize,
    /// The number of keys, from 1 to [`MAX_KEYS`], and so in the long run of counters.
    pub keys: u64,
    /// The distribution of checks over keys.
    pub popularity: Popularity,
    /// The share of checks, from 0 to 1, whose first descriptor has a limit of 0.
    pub over_limit: f64,
}

/// The distribution of checks over keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Popularity {
    /// All equally often.
    Uniform,
    /// The n-th key in proportion to 1 / n^exponent.
    Zipf {
        /// The exponent: 0 is uniform, 1 the classic distribution.
        exponent: f64,
    },
}

/// The number of digits of every key, so that checks differ only in them.
pub(super) const DIGITS: usize = 10;
/// The number of keys with [`DIGITS`] digits.
pub(crate) const MAX_KEYS: u64 = 10_u64.pow(10);
/// The value of `k0` with a limit of 0. As long as a key.
pub(super) const OVER_LIMIT: &str = "over-limit";

impl Traffic {
    /// The rules in YAML that a server needs for this traffic: a limit that is never reached, at the depth of the entries and for
    /// any of their values, and a limit of 0 for [`OVER_LIMIT`].
    ///
    /// Windows are a day long, so that counters outlive a run.
    pub(crate) fn rules(&self) -> String {
        let mut yaml = format!(
            "# What `tidegate bench` asks for with --domain {0} --entries {1}: any value counts on its own,\n\
             # and a check whose k0 is {OVER_LIMIT} is always denied.\n\
             domain: {2}\ndescriptors:\n",
            self.domain.escape_default(),
            self.entries,
            quoted(&self.domain),
        );
        for (value, limit) in [(None, u32::MAX), (Some(OVER_LIMIT), 0)] {
            let mut indent = String::from("  ");
            for level in 0..self.entries {
                // Writing to a String does not fail.
                let _written = writeln!(yaml, "{indent}- key: k{level}");
                if let Some(value) = value.filter(|_| level == 0) {
                    let _written = writeln!(yaml, "{indent}  value: {value}");
                }
                indent.push_str("  ");
                if level + 1 < self.entries {
                    let _written = writeln!(yaml, "{indent}descriptors:");
                    indent.push_str("  ");
                }
            }
            let _written =
                writeln!(yaml, "{indent}rate_limit:\n{indent}  unit: day\n{indent}  requests_per_unit: {limit}");
        }
        yaml
    }
}

/// A plain word unchanged, anything else as a quoted scalar in JSON syntax, which YAML reads.
fn quoted(domain: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if domain.starts_with(|c: char| c.is_ascii_alphabetic()) && domain.chars().all(plain) {
        domain.to_owned()
    } else {
        serde_json::Value::from(domain).to_string()
    }
}

/// Picks keys at random, reproducibly by the seed.
#[derive(Clone, Debug)]
pub(super) struct Picks {
    random: SmallRng,
    keys: u64,
    zipf: Option<Zipf<f64>>,
    over_limit: f64,
}

impl Picks {
    /// # Errors
    /// The exponent or the number of keys is not valid for the distribution.
    pub(super) fn new(traffic: &Traffic, seed: u64) -> Result<Self, String> {
        let zipf = match traffic.popularity {
            Popularity::Uniform => None,
            #[allow(clippy::cast_precision_loss)] // MAX_KEYS is far below 2^53.
            Popularity::Zipf { exponent } => {
                let zipf = Zipf::new(traffic.keys as f64, exponent);
                Some(zipf.map_err(|error| {
                    format!("the exponent {exponent} is not valid for a zipf distribution: {error}")
                })?)
            }
        };
        let (keys, over_limit) = (traffic.keys.max(1), traffic.over_limit);
        Ok(Self { random: SmallRng::seed_from_u64(seed), keys, zipf, over_limit })
    }

    /// The next key, below the number of keys.
    pub(super) fn key(&mut self) -> u64 {
        match &self.zipf {
            None => self.random.random_range(0..self.keys),
            // Ranks begin at 1.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // From 1 to `keys`.
            Some(zipf) => (zipf.sample(&mut self.random) as u64).clamp(1, self.keys) - 1,
        }
    }

    /// Whether the next check is for the limit of 0.
    pub(super) fn is_over_limit(&mut self) -> bool {
        self.over_limit > 0.0 && self.random.random::<f64>() < self.over_limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    fn traffic(keys: u64, popularity: Popularity) -> Traffic {
        Traffic { domain: "bench".into(), descriptors: 1, entries: 3, keys, popularity, over_limit: 0.25 }
    }

    #[test]
    #[allow(clippy::cast_precision_loss)] // Thousands.
    fn keys_stay_within_bounds_and_come_as_often_as_they_should() {
        let zipf = |exponent| Popularity::Zipf { exponent };
        let third = |exponent: f64| 1.0 / (1.0 + 2_f64.powf(-exponent) + 3_f64.powf(-exponent));
        let cases = [
            (1, Popularity::Uniform, 1.0),
            (1, zipf(1.0), 1.0),
            (3, Popularity::Uniform, 1.0 / 3.0),
            (3, zipf(0.0), 1.0 / 3.0),
            (3, zipf(1.0), third(1.0)),
            (3, zipf(2.5), third(2.5)),
            (MAX_KEYS, Popularity::Uniform, 0.0),
            (MAX_KEYS, zipf(0.5), 0.0),
        ];
        for (keys, popularity, share_of_first) in cases {
            let mut picks = Picks::new(&traffic(keys, popularity), 7).unwrap();
            let picked: Vec<u64> = (0..20_000).map(|_| picks.key()).collect();
            assert!(picked.iter().all(|key| *key < keys), "{keys} {popularity:?}");
            let first = picked.iter().filter(|key| **key == 0).count() as f64 / 20_000.0;
            assert!((first - share_of_first).abs() < 0.02, "{keys} {popularity:?}: {first}, not {share_of_first}");
        }
    }

    #[test]
    fn the_same_seed_picks_the_same() {
        let picked = |seed| {
            let mut picks = Picks::new(&traffic(1_000, Popularity::Uniform), seed).unwrap();
            (0..100).map(|_| (picks.key(), picks.is_over_limit())).collect::<Vec<_>>()
        };
        assert_eq!(picked(1), picked(1));
        assert_ne!(picked(1), picked(2));
        assert!(Picks::new(&traffic(9, Popularity::Zipf { exponent: -1.0 }), 1).is_err());
    }

    #[test]
    fn the_rules_load_for_any_depth_and_domain() {
        for (domain, entries) in [("bench", 1), ("bench", 3), ("a: \"b\"\n#", 2), ("true", 30)] {
            let traffic = Traffic { domain: domain.into(), entries, ..traffic(1, Popularity::Uniform) };
            let file = rules::SourceFile { name: "bench.yaml".into(), text: traffic.rules().into() };
            let loaded = rules::load(&[file], rules::LoadOptions::default());
            assert!(loaded.is_ok(), "{domain} {entries}: {loaded:?}\n{}", traffic.rules());
        }
    }
}
