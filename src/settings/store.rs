//! The store of shared counters.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::{Secret, duration};
use crate::engine_link::KeyPrefix;

/// The store of shared counters.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Shared counters")]
pub(crate) struct StoreSettings {
    /// Count in this process (memory), or together with other replicas on a Redis (7.0 or later) or Valkey (8 or later)
    ///
    /// memory, redis://[USER:PASS@]HOST:PORT[/DB], redis+unix:///PATH, redis+sentinel://HOST:PORT,HOST:PORT/MASTER, or
    /// redis+cluster://HOST:PORT,HOST:PORT; with rediss in place of redis for TLS. Or @FILE with the URL in it. Replicas then lease parts of
    /// each limit, unless its rule says otherwise (`sharing`). `tidegate store check` examines a store.
    // Without the value in the help: it may have a password.
    #[arg(long, env = "TIDEGATE_STORE", value_name = "URL", default_value = "memory", hide_env_values = true)]
    pub store: Secret,

    /// Begin the name of every key with this: two fleets on one store need two
    ///
    /// At most 32 bytes, without braces. The number is that of the format.
    #[arg(long, env = "TIDEGATE_STORE_PREFIX", value_name = "PREFIX", default_value = "tg1:")]
    pub store_prefix: KeyPrefix,

    /// Wait for the store for this long at most, or for half of the caller's timeout if that is less (1ms to 1s)
    #[arg(long, env = "TIDEGATE_STORE_TIMEOUT", value_name = "LENGTH", value_parser = timeout, default_value = "10ms")]
    pub store_timeout: Duration,

    /// What to answer while the store is down, where the rules do not say it (`sharing`)
    #[arg(long, env = "TIDEGATE_STORE_WHEN_DOWN", value_name = "ANSWER", value_enum, default_value_t = WhenDown::Local)]
    pub store_when_down: WhenDown,

    /// Share limits between this number of replicas, in place of the number that was last heard of
    #[arg(long, env = "TIDEGATE_STORE_REPLICAS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub store_replicas: Option<u32>,

    /// Be ready (/readyz) only once the store has answered
    ///
    /// Without it, a start without the store is warned about, and checks are answered by --store-when-down.
    #[arg(long, env = "TIDEGATE_STORE_REQUIRED", value_parser = BoolishValueParser::new())]
    pub store_required: bool,

    /// CAs that may sign the certificate of a rediss:// store, in place of those of the system
    #[arg(long, env = "TIDEGATE_STORE_CA", value_name = "FILE")]
    pub store_ca: Option<PathBuf>,

    /// Certificate that a rediss:// store is shown
    #[arg(long, env = "TIDEGATE_STORE_CERT", value_name = "FILE", requires = "store_key")]
    pub store_cert: Option<PathBuf>,

    /// Key of the certificate
    #[arg(long, env = "TIDEGATE_STORE_KEY", value_name = "FILE", requires = "store_cert")]
    pub store_key: Option<PathBuf>,
}

/// What checks are answered while the store is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenDown {
    /// Count here, by this replica's share of each limit
    Local,
    /// OVER_LIMIT
    Deny,
    /// OK, uncounted
    Allow,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    let allowed = Duration::from_millis(1)..=Duration::from_secs(1);
    if allowed.contains(&length) { Ok(length) } else { Err("from 1ms to 1s".to_owned()) }
}
