//! statsd: where statistics are pushed to, and as what.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use regex::Regex;

use super::duration;

/// A statsd that statistics are pushed to.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Statistics for statsd")]
pub(crate) struct StatsdSettings {
    /// Push statistics to statsd: udp://HOST:PORT or tcp://HOST:PORT; off without it
    ///
    /// With the names of envoyproxy/ratelimit, such as ratelimit.service.rate_limit.DOMAIN.KEY_VALUE.over_limit. While nobody receives, decisions are not
    /// affected; over TCP what was counted meanwhile is sent later. Example: --statsd udp://127.0.0.1:8125
    #[arg(long, env = "TIDEGATE_STATSD", value_name = "URL")]
    pub statsd: Option<StatsdUrl>,

    /// How statsd is sent tags, which are those of --metrics-label
    #[arg(long, env = "TIDEGATE_STATSD_FORMAT", value_name = "FORMAT", value_enum, default_value_t = StatsdFormat::Plain, requires = "statsd")]
    pub statsd_format: StatsdFormat,

    /// Interval between two flushes, 100ms to 10m
    #[arg(long, env = "TIDEGATE_STATSD_INTERVAL", value_name = "DURATION", default_value = "10s", value_parser = interval, requires = "statsd")]
    pub statsd_interval: Duration,
}

/// The address of a statsd, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatsdUrl {
    pub protocol: StatsdProtocol,
    /// `HOST:PORT`; looked up for each connection.
    pub address: String,
}

/// How a statsd is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatsdProtocol {
    Udp,
    Tcp,
}

/// How tags are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsdFormat {
    /// NAME.__TAG=VALUE, as statsd_exporter and envoyproxy/ratelimit have it
    Plain,
    /// |#TAG:VALUE, as Datadog's agent has it; with the metrics of Tidegate, whose labels are tags
    Dogstatsd,
}

/// Another name for the statistics that match a pattern, as `DOG_STATSD_MOGRIFIER_*` of the reference has it.
#[derive(Clone, Debug)]
pub(crate) struct StatsdRename {
    pattern: Regex,
    /// The name, in which `$1` is what the first group of the pattern matched.
    name: String,
    /// The tags, with values like the name.
    tags: Vec<(String, String)>,
}

impl FromStr for StatsdUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected udp://HOST:PORT or tcp://HOST:PORT".to_owned();
        let (protocol, address) = match text.split_once("://") {
            Some(("udp", address)) => (StatsdProtocol::Udp, address),
            Some(("tcp", address)) => (StatsdProtocol::Tcp, address),
            _ => return Err(expected()),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
        // An IPv6 address without brackets would lose its last group to the port.
        let is_host = !host.is_empty() && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
        if !is_host || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(expected());
        }
        Ok(Self { protocol, address: address.to_owned() })
    }
}

impl fmt::Display for StatsdUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            StatsdProtocol::Udp => "udp",
            StatsdProtocol::Tcp => "tcp",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl StatsdRename {
    /// # Errors
    /// The pattern is none.
    pub(crate) fn new(pattern: &str, name: String, tags: Vec<(String, String)>) -> Result<Self, String> {
        let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
        Ok(Self { pattern, name, tags })
    }

    /// The name and the tags of a statistic; `None`: the pattern does not match.
    pub(crate) fn of(&self, statistic: &str) -> Option<(String, Vec<(String, String)>)> {
        let groups = self.pattern.captures(statistic)?;
        let group =
            |number: usize| (number < groups.len()).then(|| groups.get(number).map_or("", |group| group.as_str()));
        let tags = self.tags.iter().map(|(tag, value)| (tag.clone(), filled(value, group)));
        Some((filled(&self.name, group), tags.collect()))
    }
}

/// The text with `$N` replaced by the group of that number; one that does not exist stays.
fn filled<'g>(template: &str, group: impl Fn(usize) -> Option<&'g str>) -> String {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, behind)) = rest.split_once('$') {
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = behind.split_at_checked(digits).unwrap_or((behind, ""));
        text.push_str(before);
        if let Some(found) = number.parse().ok().and_then(&group) {
            text.push_str(found);
        } else {
            text.push('$');
            text.push_str(number);
        }
        rest = after;
    }
    text + rest
}

/// More often would cost more than it shows.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let range = Duration::from_millis(100)..=Duration::from_mins(10);
    if range.contains(&interval) { Ok(interval) } else { Err("expected 100ms to 10m".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, is_url) in [
            ("udp://127.0.0.1:8125", true),
            ("tcp://statsd:9125", true),
            ("tcp://[::1]:9125", true),
            ("statsd:9125", false),
            ("http://statsd:9125", false),
            ("udp://statsd", false),
            ("udp://:8125", false),
            ("udp://::1:8125", false),
            ("udp://statsd:0", false),
            ("udp://statsd:tcp", false),
        ] {
            let parsed = text.parse::<StatsdUrl>();
            assert_eq!(parsed.is_ok(), is_url, "{text}");
            if let Ok(url) = parsed {
                assert_eq!(url.to_string(), text);
            }
        }
    }

    #[test]
    fn renames_fill_in_what_the_pattern_matched() {
        let hits = r"^ratelimit\.service\.rate_limit\.([^.]+)\.(.*)\.([^.]+)$";
        for (pattern, name, tags, statistic, expected) in [
            (
                hits,
                "ratelimit.service.rate_limit.$3",
                "domain:$1 descriptor:$2",
                "ratelimit.service.rate_limit.d.k_v.l.total_hits",
                Some("ratelimit.service.rate_limit.total_hits domain:d descriptor:k_v.l"),
            ),
            (hits, "n", "", "ratelimit.service.config_load_success", None),
            ("^(a)(b)?", "$0-$1-$2-$5-$10-$", "", "a", Some("a-a--$5-$10-$")),
            ("x", "plain", "k:v", "axb", Some("plain k:v")),
        ] {
            let tags = tags.split_whitespace().filter_map(|tag| tag.split_once(':'));
            let tags = tags.map(|(tag, value)| (tag.to_owned(), value.to_owned())).collect();
            let found = StatsdRename::new(pattern, name.to_owned(), tags).unwrap().of(statistic);
            let shown = found.map(|(name, tags)| {
                tags.into_iter().fold(name, |text, (tag, value)| text + &format!(" {tag}:{value}"))
            });
            assert_eq!(shown.as_deref(), expected, "{pattern} {statistic}");
        }
        assert!(StatsdRename::new("(", String::new(), Vec::new()).is_err());
    }
}
