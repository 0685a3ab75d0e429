//! The control plane that sends the rules.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::{ByteSize, Secret, duration};
use crate::xds::Server;

/// The control plane that sends the rules.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rules from a control plane (xDS)")]
pub(crate) struct XdsSettings {
    /// Control plane that sends the rules, in place of PATH: http://HOST:PORT, or https://HOST:PORT for TLS
    ///
    /// It is asked for ratelimit.config.ratelimit.v3.RateLimitConfig by the aggregated discovery service, state of the world, as Envoy Gateway
    /// serves it. While it is away, the rules in force stay. With --data-dir, the last set is in force again after a restart.
    #[arg(long, env = "TIDEGATE_XDS", value_name = "URL", conflicts_with_all = ["path", "config"])]
    pub xds: Option<Server>,

    /// Id of this node, by which the control plane chooses what to send
    ///
    /// Envoy Gateway: envoy-ratelimit. Envoy AI Gateway: envoy-ai-gateway-ratelimit.
    #[arg(long, env = "TIDEGATE_XDS_NODE_ID", value_name = "ID", default_value = "default")]
    pub xds_node_id: String,

    /// What else the control plane is to know about this node; can be repeated
    #[arg(long, env = "TIDEGATE_XDS_NODE_METADATA", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair, requires = "xds")]
    pub xds_node_metadata: Vec<(String, String)>,

    /// Headers of the stream: NAME:VALUE,NAME:VALUE, or @FILE that contains them
    ///
    /// Pass a secret by variable or file: flags are visible to every user of the machine.
    #[arg(long, env = "TIDEGATE_XDS_HEADERS", value_name = "HEADERS", hide_env_values = true, requires = "xds")]
    pub xds_headers: Option<Secret>,

    /// CAs that may sign the certificate of the control plane, besides those of the system; read for each connection
    #[arg(long, env = "TIDEGATE_XDS_CA", value_name = "FILE", requires = "xds")]
    pub xds_ca: Option<PathBuf>,

    /// Certificate that the control plane is shown; read for each connection
    #[arg(long, env = "TIDEGATE_XDS_CERT", value_name = "FILE", requires_all = ["xds", "xds_key"])]
    pub xds_cert: Option<PathBuf>,

    /// Key of the certificate
    #[arg(long, env = "TIDEGATE_XDS_KEY", value_name = "FILE", requires = "xds_cert")]
    pub xds_key: Option<PathBuf>,

    /// Name that the certificate of the control plane has to be for [default: the host of --xds]
    #[arg(long, env = "TIDEGATE_XDS_SERVER_NAME", value_name = "NAME", requires = "xds")]
    pub xds_server_name: Option<String>,

    /// Longest set that is read, at most 64MiB
    #[arg(long, env = "TIDEGATE_XDS_MAX_BYTES", value_name = "BYTES", default_value = "64MiB", value_parser = message_bytes)]
    pub xds_max_bytes: ByteSize,

    /// Range from which the pause before the first new attempt is drawn; it doubles with each attempt
    #[arg(long, env = "TIDEGATE_XDS_RETRY", value_name = "DURATION", default_value = "500ms", value_parser = pause)]
    pub xds_retry: Duration,

    /// Longest range from which such a pause is drawn
    #[arg(long, env = "TIDEGATE_XDS_RETRY_MAX", value_name = "DURATION", default_value = "30s", value_parser = pause)]
    pub xds_retry_max: Duration,

    /// File with keys that are laid over the rules of the control plane, read again when it changes
    ///
    /// Algorithms, periods, bans, responses, alerts: what the protocol has no field for, by patterns of domains and paths. `tidegate check --overlay` checks it.
    #[arg(long, env = "TIDEGATE_OVERLAY", value_name = "FILE", requires = "xds")]
    pub overlay: Option<PathBuf>,

    /// Be ready before the control plane has sent the first set
    ///
    /// Until then checks are answered UNAVAILABLE. For a control plane that sends nothing as long as there is no limit, such as Envoy Gateway.
    #[arg(long, env = "TIDEGATE_START_WITHOUT_RULES", value_parser = BoolishValueParser::new(), requires = "xds")]
    pub start_without_rules: bool,

    /// Be ready only while the rules have a domain
    #[arg(long, env = "TIDEGATE_DOMAIN_REQUIRED", value_parser = BoolishValueParser::new())]
    pub domain_required: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The bound of a configuration in files holds for one from a control plane, too.
fn message_bytes(text: &str) -> Result<ByteSize, String> {
    let bytes: ByteSize = text.parse()?;
    if (1..=64 << 20).contains(&bytes.0) { Ok(bytes) } else { Err("expected 1 byte to 64MiB".to_owned()) }
}

/// With shorter ones a control plane that is away would be asked without a rest.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = duration(text)?;
    let range = Duration::from_millis(10)..=Duration::from_hours(1);
    if range.contains(&pause) { Ok(pause) } else { Err("expected 10ms to 1h".to_owned()) }
}
