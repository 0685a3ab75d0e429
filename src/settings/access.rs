//! Who may use which port.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

/// Who may use which port.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessSettings {
    /// File with the clients of the gRPC port and the domains that each may check, read again when it changes
    ///
    /// YAML: `clients: [{san: "spiffe://cluster.local/ns/shop/*", domains: [shop]}, {san: "DNS:gw.example.org", domains: ["*"]}]`, by the
    /// URIs and DNS names (subject alternative names) in client certificates. Any other check is PERMISSION_DENIED, and there is no
    /// /json, whose callers have no such name. Without the file, every client may check every domain.
    #[arg(long, env = "TIDEGATE_ACCESS", value_name = "FILE", requires = "grpc_tls_client_ca")]
    pub access: Option<PathBuf>,

    /// File with the tokens of those who may use the admin port, read again when it changes
    ///
    /// YAML: `tokens: [{name, role, domains, sha256}]`, with SHA-256 hashes only. `tidegate token new` makes a token, and its line for
    /// the file. Without the file, everybody who reaches the port may do everything, so it has to be on a loopback address.
    #[arg(long, env = "TIDEGATE_ADMIN_TOKENS", value_name = "FILE")]
    pub admin_tokens: Option<PathBuf>,

    /// Serve the admin port without tokens on an address that other machines reach
    ///
    /// Only where something else keeps strangers out, such as a NetworkPolicy: every caller can switch off all limits.
    #[arg(long, env = "TIDEGATE_ADMIN_OPEN", value_parser = BoolishValueParser::new())]
    pub admin_open: bool,

    /// Host name by which the admin port may be called, besides IP addresses and localhost; can be repeated
    ///
    /// Other names are rejected, so that no page in a browser reaches the port by a name that resolves to it (DNS rebinding).
    /// Example: --admin-host tidegate-admin.shop.svc
    #[arg(long, env = "TIDEGATE_ADMIN_HOST", value_name = "NAME", value_delimiter = ',')]
    pub admin_host: Vec<String>,

    /// Whether the HTTP port answers checks at /json
    ///
    /// They spend limits as those over gRPC do: switch it off if callers of that port are not to check.
    #[arg(long, env = "TIDEGATE_JSON", value_name = "WHETHER", value_enum, default_value_t = Json::On)]
    pub json: Json,
}

/// Whether there is `/json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Json {
    /// It answers checks
    On,
    /// It does not exist
    Off,
}
