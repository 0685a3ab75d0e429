//! The variables of the reference as flags of `serve`.
//!
//! A variable whose flag is given, or set by a variable `TIDEGATE_*`, is ignored. What is ignored is not even parsed: Kubernetes sets `GRPC_PORT=tcp://...` in
//! a namespace with a Service of that name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use super::environment::Environment;
use super::{Notes, duration, files, statsd, store, tracing_variables};
use crate::sanitize::sanitize;
use crate::settings::ReferenceSettings;

/// The translation of one environment.
#[derive(Debug)]
pub(super) struct Translation {
    environment: Environment,
    /// The flags that are given.
    given: BTreeSet<String>,
    /// The flags that it makes.
    pub(super) flags: Vec<String>,
    pub(super) reference: ReferenceSettings,
    pub(super) notes: Notes,
    /// Variables that have an effect.
    used: BTreeSet<&'static str>,
    /// Variables with names of the operator's that have one, too.
    also_used: BTreeSet<String>,
    /// Variables that have none, because another setting has precedence.
    overruled: BTreeSet<&'static str>,
}

impl Translation {
    pub(super) fn new(environment: Environment, arguments: &[OsString]) -> Self {
        let name = |argument: &OsString| {
            let text = argument.to_string_lossy().into_owned();
            text.strip_prefix("--").and_then(|flag| flag.split('=').next()).map(str::to_owned)
        };
        Self {
            environment,
            given: arguments.iter().filter_map(name).collect(),
            flags: Vec::new(),
            reference: ReferenceSettings::default(),
            notes: Notes::default(),
            used: BTreeSet::new(),
            also_used: BTreeSet::new(),
            overruled: BTreeSet::new(),
        }
    }

    /// Translates all variables.
    ///
    /// # Errors
    /// A variable has a value that cannot be used.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.listen()?;
        self.tls()?;
        self.log()?;
        self.rules()?;
        self.answers()?;
        self.metrics()?;
        self.statsd()?;
        self.store()?;
        self.reference.otel = tracing_variables::otel(&self.environment)?;
        if self.environment.truth("TRACING_ENABLED")? {
            self.used.extend(TRACING);
        }
        self.list();
        Ok(())
    }

    /// Adds a flag, unless it is given otherwise. `names`: the variables that make it.
    fn flag(&mut self, flag: &str, names: &[&'static str], value: &str) {
        let names = names.iter().filter(|name| self.environment.set(name).is_some()).copied();
        if self.is_given(flag) {
            self.overruled.extend(names);
        } else {
            self.used.extend(names);
            // A switch has no value.
            self.flags.push(if value.is_empty() { format!("--{flag}") } else { format!("--{flag}={value}") });
        }
    }

    fn is_given(&self, flag: &str) -> bool {
        let variable = format!("TIDEGATE_{}", flag.replace('-', "_").to_uppercase());
        self.given.contains(flag) || self.environment.set(&variable).is_some()
    }

    /// A flag that takes the value of a variable as it is.
    fn same(&mut self, flag: &str, name: &'static str) {
        if let Some(value) = self.environment.get(name).map(str::to_owned) {
            self.flag(flag, &[name], &value);
        }
    }

    /// A flag that is set where a variable is true.
    fn truth(&mut self, flag: &str, name: &'static str) -> Result<(), String> {
        if self.is_given(flag) {
            self.overruled.extend(self.environment.set(name).map(|_| name));
        } else if self.environment.truth(name)? {
            self.flag(flag, &[name], "");
        } else if self.environment.set(name).is_some() {
            self.used.insert(name);
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), String> {
        self.address("http-addr", ["HOST", "PORT"], "8080", false)?;
        match self.environment.get("GRPC_UDS").map(|path| format!("unix:{path}")) {
            Some(path) => self.flag("grpc-addr", &["GRPC_UDS"], &path),
            None => self.address("grpc-addr", ["GRPC_HOST", "GRPC_PORT"], "8081", false)?,
        }
        self.address("debug-addr", ["DEBUG_HOST", "DEBUG_PORT"], "6070", true)?;
        self.length("max-connection-age", "GRPC_MAX_CONNECTION_AGE", Some("24h"))?;
        self.length("max-connection-age-grace", "GRPC_MAX_CONNECTION_AGE_GRACE", Some("1h"))
    }

    /// `HOST:PORT` of two variables. Without both of them there is a flag only if there `always` is one.
    fn address(
        &mut self,
        flag: &str,
        names: [&'static str; 2],
        default_port: &str,
        always: bool,
    ) -> Result<(), String> {
        if self.is_given(flag) {
            self.flag(flag, &names, "");
            return Ok(());
        }
        let [host_name, port_name] = names;
        let port = self.environment.get(port_name).map(str::to_owned);
        let port = port.filter(|value| !self.is_of_kubernetes(port_name, value));
        if port.as_ref().is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(format!("{port_name}={}: expected the number of a port", port.unwrap_or_default()));
        }
        if !always && port.is_none() && self.environment.set(host_name).is_none() {
            return Ok(());
        }
        let host = host(self.environment.set(host_name).unwrap_or("0.0.0.0"));
        let used: Vec<_> = names.into_iter().filter(|name| *name != port_name || port.is_some()).collect();
        self.flag(flag, &used, &format!("{host}:{}", port.as_deref().unwrap_or(default_port)));
        Ok(())
    }

    /// Whether Kubernetes has set it, for a Service of that name. Then it is noted.
    fn is_of_kubernetes(&mut self, name: &str, value: &str) -> bool {
        let is_link = value.contains("://");
        if is_link {
            self.notes.ignored.push(format!("{name} (of a Service of Kubernetes)"));
        }
        is_link
    }

    /// A flag with a length of time; 0 there means that there is none.
    fn length(&mut self, flag: &str, name: &'static str, default: Option<&str>) -> Result<(), String> {
        let value = self.environment.get(name).or(default).map(str::to_owned);
        let Some(value) = value.filter(|_| !self.is_given(flag)) else {
            self.overruled.extend(self.environment.set(name).map(|_| name));
            return Ok(());
        };
        let ns = duration::nanoseconds(&value).map_err(|error| format!("{name}={value}: {error}"))?;
        if ns > 0 {
            self.flag(flag, &[name], &format!("{ns}ns"));
        } else {
            self.used.insert(name);
        }
        Ok(())
    }

    fn tls(&mut self) -> Result<(), String> {
        if self.is_given("grpc-tls-cert") || !self.environment.truth("GRPC_SERVER_USE_TLS")? {
            return Ok(());
        }
        self.used.insert("GRPC_SERVER_USE_TLS");
        for (flag, name) in [("grpc-tls-cert", "GRPC_SERVER_TLS_CERT"), ("grpc-tls-key", "GRPC_SERVER_TLS_KEY")] {
            if self.environment.get(name).is_none() && !self.is_given(flag) {
                return Err(format!("{name} is not set, and GRPC_SERVER_USE_TLS=true needs it"));
            }
            self.same(flag, name);
        }
        self.same("grpc-tls-client-ca", "GRPC_CLIENT_TLS_CACERT");
        if self.environment.get("GRPC_CLIENT_TLS_CACERT").is_some() {
            self.same("grpc-tls-client-san", "GRPC_CLIENT_TLS_SAN");
        }
        Ok(())
    }

    fn log(&mut self) -> Result<(), String> {
        let level = self.environment.get("LOG_LEVEL").unwrap_or("WARN").to_ascii_lowercase();
        let level = match level.as_str() {
            "panic" | "fatal" | "error" => "error",
            "warn" | "warning" => "warn",
            level @ ("info" | "debug" | "trace") => level,
            _ if self.is_given("log-level") => "warn",
            other => {
                let expected = "expected panic, fatal, error, warn, info, debug or trace";
                return Err(format!("LOG_LEVEL={}: {expected}", sanitize(other)));
            }
        };
        // What the process does when it starts and with its rules is shown at any level: it is why one reads a log.
        let shown: Vec<_> = SHOWN.iter().map(|module| format!("tidegate::{module}=info")).collect();
        let shown =
            if ["error", "warn"].contains(&level) { format!("{level},{}", shown.join(",")) } else { level.to_owned() };
        self.flag("log-level", &["LOG_LEVEL"], &shown);
        let is_json = self.environment.get("LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json"));
        self.flag("log-format", &["LOG_FORMAT"], if is_json { "json" } else { "text" });
        Ok(())
    }

    fn rules(&mut self) -> Result<(), String> {
        self.truth("merge-domains", "MERGE_DOMAIN_CONFIG")?;
        self.truth("domain-required", "HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED")?;
        if self.is_given("config") || self.is_given("xds") {
            self.overruled.extend(["CONFIG_TYPE", "RUNTIME_ROOT", "RUNTIME_SUBDIRECTORY", "RUNTIME_APPDIRECTORY"]);
            return Ok(());
        }
        match self.environment.get("CONFIG_TYPE").unwrap_or("FILE") {
            "FILE" => {
                let path = files::rules(&self.environment)?;
                self.reference.any_file_name = true;
                self.used.extend(["CONFIG_TYPE"]);
                let names = ["RUNTIME_ROOT", "RUNTIME_SUBDIRECTORY", "RUNTIME_APPDIRECTORY"];
                self.flag("config", &names, &path.to_string_lossy());
                Ok(())
            }
            "GRPC_XDS_SOTW" => self.control_plane(),
            other => Err(format!("CONFIG_TYPE={}: expected FILE or GRPC_XDS_SOTW", sanitize(other))),
        }
    }

    fn control_plane(&mut self) -> Result<(), String> {
        let has_tls = self.environment.truth("CONFIG_GRPC_XDS_SERVER_USE_TLS")?;
        let target = self.environment.get("CONFIG_GRPC_XDS_SERVER_URL").unwrap_or("localhost:18000");
        let address = target.strip_prefix("dns:///").unwrap_or(target);
        let scheme = if has_tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let names = ["CONFIG_TYPE", "CONFIG_GRPC_XDS_SERVER_URL", "CONFIG_GRPC_XDS_SERVER_USE_TLS"];
        self.flag("xds", &names, &url);
        self.same("xds-node-id", "CONFIG_GRPC_XDS_NODE_ID");
        if let Some(metadata) = self.environment.get("CONFIG_GRPC_XDS_NODE_METADATA") {
            let pairs: Vec<_> = metadata.split(',').filter(|pair| !pair.is_empty()).map(pair).collect();
            self.flag("xds-node-metadata", &["CONFIG_GRPC_XDS_NODE_METADATA"], &pairs.join(","));
        }
        self.same("xds-headers", "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS");
        if has_tls {
            self.same("xds-ca", "CONFIG_GRPC_XDS_SERVER_TLS_CACERT");
            self.same("xds-cert", "CONFIG_GRPC_XDS_CLIENT_TLS_CERT");
            self.same("xds-key", "CONFIG_GRPC_XDS_CLIENT_TLS_KEY");
            self.same("xds-server-name", "CONFIG_GRPC_XDS_SERVER_TLS_SAN");
        }
        self.length("xds-retry", "XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", None)?;
        self.length("xds-retry-max", "XDS_CLIENT_BACKOFF_MAX_INTERVAL", None)?;
        if let Some(size) = self.environment.get("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES") {
            let name = "XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES";
            let bytes: u64 = size.parse().map_err(|_| format!("{name}={}: expected a number", sanitize(size)))?;
            if bytes > 0 {
                self.flag("xds-max-bytes", &[name], &bytes.min(64 << 20).to_string());
            }
        }
        self.truth("start-without-rules", "FORCE_START_WITHOUT_INITIAL_CONFIG")
    }

    fn answers(&mut self) -> Result<(), String> {
        self.truth("shadow-mode", "SHADOW_MODE")?;
        self.truth("quota-mode", "QUOTA_MODE")?;
        self.truth("dynamic-metadata", "RESPONSE_DYNAMIC_METADATA")?;
        self.truth("count-no-denied", "STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT")?;
        self.same("near-limit-ratio", "NEAR_LIMIT_RATIO");
        if !self.environment.truth("LIMIT_RESPONSE_HEADERS_ENABLED")? {
            return Ok(());
        }
        self.flag("headers", &["LIMIT_RESPONSE_HEADERS_ENABLED"], "draft-03");
        if HEADERS.iter().any(|(name, _)| self.environment.get(name).is_some()) {
            let names = HEADERS.map(|(name, default)| self.environment.get(name).unwrap_or(default));
            let names = names.join(",");
            self.flag("header-names", &HEADERS.map(|(name, _)| name), &names);
        }
        Ok(())
    }

    fn metrics(&mut self) -> Result<(), String> {
        if let Some(tags) = self.environment.get("EXTRA_TAGS") {
            let tags: Vec<_> = tags.split(',').filter(|tag| !tag.is_empty()).map(label).collect();
            self.flag("metrics-label", &["EXTRA_TAGS"], &tags.join(","));
        }
        if !self.environment.truth("USE_PROMETHEUS")? {
            return Ok(());
        }
        let address = self.environment.get("PROMETHEUS_ADDR").unwrap_or(":9090");
        let Some((at, port)) = address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) else {
            return Err(format!("PROMETHEUS_ADDR={}: expected HOST:PORT", sanitize(address)));
        };
        let at = at.trim_start_matches('[').trim_end_matches(']');
        let address = format!("{}:{port}", host(at));
        self.flag("metrics-addr", &["USE_PROMETHEUS", "PROMETHEUS_ADDR"], &address);
        self.same("metrics-path", "PROMETHEUS_PATH");
        Ok(())
    }

    fn statsd(&mut self) -> Result<(), String> {
        if self.is_given("statsd") {
            self.overruled.extend(["USE_STATSD", "USE_DOG_STATSD", "STATSD_HOST", "STATSD_PORT", "STATSD_PROTOCOL"]);
            return Ok(());
        }
        let is_on = self.environment.truth("USE_STATSD")? || self.environment.truth("USE_DOG_STATSD")?;
        let port = self.environment.get("STATSD_PORT").map(str::to_owned).filter(|_| is_on);
        let port = port.filter(|value| !self.is_of_kubernetes("STATSD_PORT", value));
        let host = host(self.environment.get("STATSD_HOST").unwrap_or("localhost"));
        let found = statsd::read(&self.environment, &host, port.as_deref().unwrap_or("8125"))?;
        let Some(statsd::Found { flags, tags, renames, names }) = found else {
            let switches = ["USE_STATSD", "USE_DOG_STATSD", "DISABLE_STATS"].into_iter();
            self.used.extend(switches.filter(|name| self.environment.set(name).is_some()));
            if self.environment.get("STATSD_HOST").is_some() && self.environment.set("USE_STATSD").is_none() {
                let warning =
                    "STATSD_HOST is set, and nothing is pushed there without USE_STATSD=true or USE_DOG_STATSD=true";
                self.notes.warnings.push(warning.to_owned());
            }
            return Ok(());
        };
        for (flag, names, value) in flags {
            let names: Vec<_> = names.iter().copied().filter(|name| *name != "STATSD_PORT" || port.is_some()).collect();
            self.flag(flag, &names, &value);
        }
        (self.reference.statsd_tags, self.reference.statsd_renames) = (tags, renames);
        self.also_used.extend(names);
        Ok(())
    }

    fn store(&mut self) -> Result<(), String> {
        if self.environment.get("TIDEGATE_STORE") == Some("variables") {
            for (flag, value) in store::flags(&self.environment)? {
                self.flags.push(format!("--{flag}={value}"));
            }
            self.used.extend(STORE);
            return Ok(());
        }
        let named = ["REDIS_URL", "MEMCACHE_HOST_PORT", "MEMCACHE_SRV"];
        if let Some(name) =
            named.into_iter().find(|name| self.environment.get(name).is_some() && !self.is_given("store"))
        {
            self.notes.warnings.push(format!(
                "{name} is set, and not used: counts are those of this process, so that N replicas let N times each limit pass, and \
                 they end with it. With TIDEGATE_STORE=variables the Redis (7 or later) of REDIS_URL is used"
            ));
        }
        Ok(())
    }

    /// Lists what is honoured and what is not.
    fn list(&mut self) {
        let Self { environment, notes, used, also_used, overruled, .. } = self;
        for name in environment.names() {
            let value = environment.set(name).unwrap_or_default();
            if used.contains(name) || also_used.contains(name) {
                let shown = if is_secret(name) { "...".to_owned() } else { sanitize(value) };
                notes.honoured.push(format!("{name}={shown}"));
            } else if overruled.contains(name) {
                notes.ignored.push(format!("{name} (another setting has precedence)"));
            } else if let Some(why) = why_ignored(name) {
                notes.ignored.push(format!("{name} ({why})"));
            }
        }
    }
}

/// A host as an address has it. An empty one and `::` are all addresses, of IPv6 where the system has it.
fn host(name: &str) -> String {
    match name {
        "" if !Path::new("/proc/net/if_inet6").exists() => "0.0.0.0".to_owned(),
        "" => "[::]".to_owned(),
        name if name.contains(':') => format!("[{name}]"),
        name => name.to_owned(),
    }
}

/// `KEY=VALUE` of a pair with either mark.
fn pair(text: &str) -> String {
    match text.split_once(['=', ':']) {
        Some((key, value)) => format!("{}={}", key.trim(), value.trim()),
        None => format!("{}=", text.trim()),
    }
}

/// The same with a name that a label can have: EXTRA_TAGS may have others.
fn label(text: &str) -> String {
    let tag = pair(text);
    let (name, value) = tag.split_once('=').unwrap_or((&tag, ""));
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = name.trim_start_matches('_');
    let first = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "_" };
    format!("{first}{name}={value}")
}

fn is_secret(name: &str) -> bool {
    ["_AUTH", "_URL", "_HEADERS"].iter().any(|end| name.ends_with(end))
}

/// Why a variable of the reference has no effect; `None`: it is none of these.
fn why_ignored(name: &str) -> Option<&'static str> {
    let known = IGNORED.iter().find(|(known, _)| *known == name).map(|(_, why)| *why);
    let prefix = || PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, why)| *why);
    known.or_else(prefix).filter(|why| !why.is_empty())
}

/// Without a reason: there is nothing to say, because what they ask for is always so.
const IGNORED: [(&str, &str); 30] = [
    ("RUNTIME_IGNOREDOTFILES", ""),
    ("RUNTIME_WATCH_ROOT", ""),
    ("CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL", "it has no effect there either"),
    ("GRPC_SERVER_TLS_CA_CERT", "it is not read there either; GRPC_CLIENT_TLS_CACERT demands client certificates"),
    ("XDS_CLIENT_BACKOFF_RANDOM_FACTOR", "the whole pause is random"),
    ("XDS_CLIENT_BACKOFF_JITTER", "the whole pause is random"),
    ("STATSD_HOST", "neither USE_STATSD nor USE_DOG_STATSD is true"),
    ("STATSD_PORT", "neither USE_STATSD nor USE_DOG_STATSD is true"),
    ("STATSD_PROTOCOL", "neither USE_STATSD nor USE_DOG_STATSD is true"),
    ("USE_DOG_STATSD_MOGRIFIERS", "USE_DOG_STATSD is not true"),
    ("STATS_FLUSH_INTERVAL", "neither USE_STATSD nor USE_DOG_STATSD is true"),
    ("USE_PROMETHEUS", "/metrics is at the HTTP port"),
    ("PROMETHEUS_ADDR", "USE_PROMETHEUS is not true"),
    ("PROMETHEUS_PATH", "USE_PROMETHEUS is not true"),
    ("PROMETHEUS_MAPPER_YAML", "names and labels are those of the default mapping"),
    ("PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS", "there is no such metric"),
    ("EXPIRATION_JITTER_MAX_SECONDS", "counters are not in Redis"),
    ("LOCAL_CACHE_SIZE_IN_BYTES", "no cache is needed"),
    ("CACHE_KEY_PREFIX", "counters are not in Redis"),
    ("BACKEND_TYPE", "counters are in this process"),
    ("TRACING_EXPORTER_PROTOCOL", "TRACING_ENABLED is not true"),
    ("TRACING_SERVICE_NAME", "TRACING_ENABLED is not true"),
    ("TRACING_SERVICE_NAMESPACE", "TRACING_ENABLED is not true"),
    ("TRACING_SERVICE_INSTANCE_ID", "TRACING_ENABLED is not true"),
    ("TRACING_SAMPLING_RATE", "TRACING_ENABLED is not true"),
    ("FORCE_START_WITHOUT_INITIAL_CONFIG", "files are read before the ports open"),
    ("LIMIT_LIMIT_HEADER", "LIMIT_RESPONSE_HEADERS_ENABLED is not true"),
    ("LIMIT_REMAINING_HEADER", "LIMIT_RESPONSE_HEADERS_ENABLED is not true"),
    ("LIMIT_RESET_HEADER", "LIMIT_RESPONSE_HEADERS_ENABLED is not true"),
    ("GRPC_CLIENT_TLS_SAN", "GRPC_SERVER_USE_TLS is not true, or there is no GRPC_CLIENT_TLS_CACERT"),
];

const PREFIXES: [(&str, &str); 6] = [
    ("DOG_STATSD_MOGRIFIER_", "USE_DOG_STATSD is not true, or USE_DOG_STATSD_MOGRIFIERS does not name it"),
    ("REDIS_", "counters are in this process"),
    ("MEMCACHE_", "counters are in this process"),
    ("CONFIG_GRPC_XDS_", "CONFIG_TYPE is not GRPC_XDS_SOTW, or it is for TLS"),
    ("XDS_CLIENT_", "CONFIG_TYPE is not GRPC_XDS_SOTW"),
    ("GRPC_SERVER_TLS_", "GRPC_SERVER_USE_TLS is not true"),
];

/// Where lines are shown at any level.
const SHOWN: [&str; 5] = ["app", "cli", "config", "engine_link", "xds"];

const HEADERS: [(&str, &str); 3] = [
    ("LIMIT_LIMIT_HEADER", "RateLimit-Limit"),
    ("LIMIT_REMAINING_HEADER", "RateLimit-Remaining"),
    ("LIMIT_RESET_HEADER", "RateLimit-Reset"),
];

const TRACING: [&str; 6] = [
    "TRACING_ENABLED",
    "TRACING_EXPORTER_PROTOCOL",
    "TRACING_SERVICE_NAME",
    "TRACING_SERVICE_NAMESPACE",
    "TRACING_SERVICE_INSTANCE_ID",
    "TRACING_SAMPLING_RATE",
];

const STORE: [&str; 8] = [
    "REDIS_URL",
    "REDIS_TYPE",
    "REDIS_AUTH",
    "REDIS_SOCKET_TYPE",
    "REDIS_TLS",
    "REDIS_TLS_CACERT",
    "REDIS_TLS_CLIENT_CERT",
    "REDIS_TLS_CLIENT_KEY",
];
