//! `USE_STATSD`, `USE_DOG_STATSD` and what belongs to them.

use super::duration;
use super::environment::Environment;
use crate::sanitize::sanitize;
use crate::settings::StatsdRename;

/// The statsd that the variables name.
#[derive(Debug)]
pub(super) struct Found {
    /// The flags, with the variable that makes each.
    pub(super) flags: Vec<(&'static str, &'static [&'static str], String)>,
    /// Tags for all statistics.
    pub(super) tags: Option<Vec<(String, String)>>,
    pub(super) renames: Vec<StatsdRename>,
    /// The variables that make these.
    pub(super) names: Vec<String>,
}

/// The statsd that is pushed to; `None`: none is. `host` and `port` are what the address has.
///
/// There the first of the two is on unless it is switched off. Here it is off, so that a manifest without statsd needs no variable.
///
/// # Errors
/// A variable has a value that cannot be used.
pub(super) fn read(environment: &Environment, host: &str, port: &str) -> Result<Option<Found>, String> {
    let (plain, dog) = (environment.truth("USE_STATSD")?, environment.truth("USE_DOG_STATSD")?);
    if environment.truth("DISABLE_STATS")? || !(plain || dog) {
        return Ok(None);
    }
    if plain && dog {
        return Err("USE_STATSD and USE_DOG_STATSD are both true: set one of them to false".to_owned());
    }
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(format!("STATSD_PORT={}: expected the number of a port", sanitize(port)));
    }
    let protocol = match environment.get("STATSD_PROTOCOL") {
        _ if dog => "udp",
        None | Some("tcp" | "tcp4" | "tcp6") => "tcp",
        Some("udp" | "udp4" | "udp6") => "udp",
        Some(other) => return Err(format!("STATSD_PROTOCOL={}: expected tcp or udp", sanitize(other))),
    };
    let url = format!("{protocol}://{host}:{port}");
    let mut flags = vec![("statsd", &SWITCHES[..], url)];
    if dog {
        flags.push(("statsd-format", &["USE_DOG_STATSD"], "dogstatsd".to_owned()));
    }
    if let Some(interval) = environment.get("STATS_FLUSH_INTERVAL") {
        let wrong = |error| format!("STATS_FLUSH_INTERVAL={}: {error}", sanitize(interval));
        let ns = duration::nanoseconds(interval).map_err(wrong)?.clamp(LEAST_NS, MOST_NS);
        flags.push(("statsd-interval", &["STATS_FLUSH_INTERVAL"], format!("{ns}ns")));
    }
    let tags = environment.get("EXTRA_TAGS").map(|text| pairs(text).collect());
    let (mut renames, mut read) = (Vec::new(), Vec::new());
    let named = environment.get("USE_DOG_STATSD_MOGRIFIERS").unwrap_or_default();
    for name in named.split(',').filter(|name| dog && !name.is_empty()) {
        renames.push(rename(environment, name, &mut read)?);
    }
    if !renames.is_empty() {
        read.push("USE_DOG_STATSD_MOGRIFIERS".to_owned());
    }
    Ok(Some(Found { flags, tags, renames, names: read }))
}

/// One of them; adds the names of its variables.
fn rename(environment: &Environment, name: &str, names: &mut Vec<String>) -> Result<StatsdRename, String> {
    let mut value = |end: &str| {
        let variable = format!("DOG_STATSD_MOGRIFIER_{name}_{end}");
        let value = environment.get(&variable).map(str::to_owned);
        names.extend(value.is_some().then(|| variable.clone()));
        (variable, value)
    };
    let needed = |(variable, value): (String, Option<String>)| {
        let why =
            || format!("{} is not set, and USE_DOG_STATSD_MOGRIFIERS names {}", sanitize(&variable), sanitize(name));
        value.ok_or_else(why)
    };
    let pattern = needed(value("PATTERN"))?;
    let to = needed(value("NAME"))?;
    let (variable, tags) = value("TAGS");
    let tags: Vec<_> = pairs(&tags.unwrap_or_default()).collect();
    if tags.iter().any(|(tag, value)| tag.is_empty() || value.is_empty()) {
        return Err(format!("{}: expected TAG:VALUE,TAG:VALUE", sanitize(&variable)));
    }
    let wrong = |error: String| format!("DOG_STATSD_MOGRIFIER_{}_PATTERN: {}", sanitize(name), sanitize(&error));
    StatsdRename::new(&pattern, to, tags).map_err(wrong)
}

/// The tags of `TAG:VALUE,TAG:VALUE`.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let tags = text.split(',').filter(|tag| !tag.is_empty());
    tags.map(|tag| tag.split_once(':').unwrap_or((tag, ""))).map(|(tag, value)| (tag.to_owned(), value.to_owned()))
}

/// What the address is made of.
const SWITCHES: [&str; 5] = ["USE_STATSD", "USE_DOG_STATSD", "STATSD_HOST", "STATSD_PORT", "STATSD_PROTOCOL"];
/// The range of the flag.
const LEAST_NS: u64 = 100_000_000;
const MOST_NS: u64 = 600_000_000_000;
