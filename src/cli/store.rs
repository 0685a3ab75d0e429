//! `tidegate store check`: whether an engine is fit for shared counters.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{complain, print};
use crate::engine_link::{Finding, Fitness, KeyPrefix, LinkError, Severity, StoreUrl, Tls, masters};
use crate::net::ClientFiles;
use crate::runtime::clock::Clock;
use crate::settings::{Secret, duration};
use crate::units::Nanos;

/// Redis or Valkey as the store of shared counters.
#[derive(Args, Clone, Debug)]
pub(super) struct Store {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum StoreCommand {
    /// Examine a Redis or Valkey: version, eviction policy, rights, latency and clock
    ///
    /// Behind sentinels the master is examined, of a cluster all masters. A few keys are written, which expire within two seconds.
    ///
    /// Example: tidegate store check redis://127.0.0.1:6379
    ///
    /// Exit status: 0 if counters can be shared, perhaps with warnings, 1 if they cannot, 2 for a URL that cannot be used.
    Check(Check),
}

#[derive(Args, Clone, Debug)]
struct Check {
    /// URL: redis://[USER:PASS@]HOST:PORT[/DB], redis+sentinel://H1:P1,H2:P2/MASTER, redis+cluster://H1:P1,H2:P2, redis+unix:///PATH; or
    /// @FILE, which holds the URL
    // Without the value in the help: it may have a password.
    #[arg(env = "TIDEGATE_STORE", value_name = "URL", hide_env_values = true)]
    url: Secret,

    /// What begins every key; the rights of the user have to include such keys
    #[arg(long, env = "TIDEGATE_STORE_PREFIX", value_name = "PREFIX", default_value = "tg1:")]
    store_prefix: KeyPrefix,

    /// CAs that may sign the certificate of a rediss:// store, in place of those of the system
    #[arg(long, env = "TIDEGATE_STORE_CA", value_name = "FILE")]
    store_ca: Option<PathBuf>,

    /// Certificate that a rediss:// store is shown
    #[arg(long, env = "TIDEGATE_STORE_CERT", value_name = "FILE", requires = "store_key")]
    store_cert: Option<PathBuf>,

    /// Key of the certificate
    #[arg(long, env = "TIDEGATE_STORE_KEY", value_name = "FILE", requires = "store_cert")]
    store_key: Option<PathBuf>,

    /// How long to wait for the connection and for each answer
    #[arg(long, env = "TIDEGATE_TIMEOUT", value_name = "LENGTH", value_parser = duration, default_value = "2s")]
    timeout: Duration,

    /// Print one JSON object for programs: ok, nodes, error
    #[arg(long, env = "TIDEGATE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Store {
    pub(super) fn run(self) -> ExitCode {
        let StoreCommand::Check(check) = self.command;
        check.run()
    }
}

impl Check {
    fn run(self) -> ExitCode {
        let url = match self.url() {
            Ok(url) => url,
            Err(error) => {
                complain(&format!("error: {error}"));
                return ExitCode::from(super::WRONG_COMMAND_LINE);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = match runtime {
            Ok(runtime) => runtime.block_on(self.examine(&url)),
            Err(error) => Err(format!("cannot start: {error}")),
        };
        let is_fit = found.as_ref().is_ok_and(|nodes| nodes.iter().all(Fitness::is_fit));
        if self.json {
            print(&object(&found, is_fit).to_string());
        } else {
            match &found {
                Ok(nodes) => nodes.iter().for_each(|node| print(&text(node))),
                Err(error) => complain(&format!("error: {error}")),
            }
            print(if is_fit { "ok" } else { "not ok" });
        }
        if is_fit { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn url(&self) -> Result<StoreUrl, String> {
        let text = self.url.reveal().map_err(|error| format!("the file with the URL cannot be read: {error}"))?;
        let mut url: StoreUrl =
            text.parse().map_err(|error| format!("the URL of the store cannot be used: {error}"))?;
        if url.has_tls {
            let identity = self.store_cert.as_deref().zip(self.store_key.as_deref());
            url.login.tls = Some(Tls::new(ClientFiles { ca: self.store_ca.as_deref(), identity })?);
        }
        Ok(url)
    }

    async fn examine(&self, url: &StoreUrl) -> Result<Vec<Fitness>, String> {
        let clock = Clock::start();
        let of_url = |error: LinkError| format!("{url}: {}", explain(&error));
        let masters = masters(url, &[], self.timeout).await.map_err(of_url)?.nodes;
        let mut nodes = Vec::with_capacity(masters.len());
        for master in masters {
            let name = master.to_string();
            let examined = Fitness::examine(master, &url.login, &self.store_prefix, self.timeout, || clock.now());
            nodes.push(examined.await.map_err(|error| format!("{name}: {}", explain(&error)))?);
        }
        Ok(nodes)
    }
}

/// The error, and what to do.
fn explain(error: &LinkError) -> String {
    let advice = match error {
        LinkError::Unreachable(_) => "is the address right, and does the engine listen on it?",
        LinkError::Timeout => "is it overloaded, or behind a firewall? --timeout waits longer",
        LinkError::Rejected { code, .. } if code == "NOAUTH" => "it demands a password: redis://USER:PASS@HOST:PORT",
        LinkError::Rejected { code, .. } if code == "WRONGPASS" => "the user or password is wrong",
        LinkError::Lost => "does it demand TLS, or is it another kind of server?",
        _ => return error.to_string(),
    };
    format!("{error}; {advice}")
}

fn text(node: &Fitness) -> String {
    let Fitness { node, facts, latency, clock_offset_ns, findings } = node;
    let policy = if facts.maxmemory_policy.is_empty() { "unknown" } else { &facts.maxmemory_policy };
    let sign = if *clock_offset_ns < 0 { "-" } else { "+" };
    let offset = Nanos::from_ns(clock_offset_ns.unsigned_abs());
    let mut lines = vec![format!(
        "{node}: {} {}, maxmemory-policy {policy}, evicted keys {}, latency {latency}, clock {sign}{offset}",
        facts.server, facts.version, facts.evicted_keys
    )];
    lines.extend(findings.iter().map(|Finding { severity, text }| format!("  {}: {text}", severity_name(*severity))));
    lines.join("\n")
}

fn object(found: &Result<Vec<Fitness>, String>, is_fit: bool) -> Value {
    let node = |node: &Fitness| {
        let finding = |finding: &Finding| json!({"severity": severity_name(finding.severity), "message": finding.text});
        json!({
            "node": node.node.to_string(),
            "server": node.facts.server,
            "version": node.facts.version,
            "maxmemory_policy": node.facts.maxmemory_policy,
            "evicted_keys": node.facts.evicted_keys,
            "latency_ns": node.latency.as_ns(),
            "clock_offset_ns": node.clock_offset_ns,
            "ok": node.is_fit(),
            "findings": node.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    };
    let nodes = found.as_ref().map(|nodes| nodes.iter().map(node).collect::<Vec<_>>()).unwrap_or_default();
    json!({"ok": is_fit, "nodes": nodes, "error": found.as_ref().err()})
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}
