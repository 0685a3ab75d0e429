//! Where the rules come from: files, or a control plane.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataKey, MetadataValue};

use super::AppError;
use crate::config::{LoadError, Loaded, Pace, Publisher, Reloader, Source, Watch};
use crate::rules::{self, LoadOptions};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::Phases;
use crate::runtime::small_files;
use crate::runtime::threads::Worker;
use crate::settings::{Secret, Settings, XdsSettings};
use crate::xds::{self, Client, KeptSet, OverlaySource, Server, ServerFiles, XdsRules, XdsStatus};

/// Why there can be no connection to the control plane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XdsError {
    /// A TLS flag without effect.
    #[error(
        "--xds {0} is without TLS, so that --xds-ca, --xds-cert and --xds-server-name have no effect: write https://"
    )]
    NoTls(Server),
    /// The overlay, each error as a line.
    #[error("{}", .0.join("\n"))]
    Overlay(Vec<String>),
    /// The TLS files.
    #[error("--xds: {0}")]
    Tls(String),
    /// The headers, of which nothing is shown.
    #[error("--xds-headers: {0}")]
    Headers(String),
}

/// Where the rules come from.
#[derive(Clone, Debug)]
pub(super) enum RuleSource {
    /// Files, which are watched.
    Files(Arc<Reloader>),
    /// A control plane.
    ControlPlane(Arc<XdsRules>, Box<Client>),
}

impl RuleSource {
    /// Nothing is loaded yet. `data_dir` keeps what a control plane sent.
    pub(super) fn new(
        settings: &Settings,
        options: LoadOptions,
        clock: Arc<Clock>,
        publisher: Arc<Publisher>,
        data_dir: Option<&Path>,
    ) -> Result<Self, AppError> {
        let shadow_mode = settings.limits.shadow_mode;
        if let Some(client) = client(&settings.xds)? {
            let kept = data_dir.map(KeptSet::in_dir);
            let rules = XdsRules::new(client.server.to_string(), options, publisher, clock, kept);
            let overlay =
                settings.xds.overlay.as_deref().map(OverlaySource::open).transpose().map_err(XdsError::Overlay)?;
            let rules = Arc::new(rules.with_shadow_mode(shadow_mode).with_overlay(overlay));
            return Ok(Self::ControlPlane(rules, Box::new(client)));
        }
        let path = settings.config.0.clone().unwrap_or_default();
        let source = Source::open(path, options).with_any_name(settings.reference.any_file_name);
        let reloader = Reloader::new(source, clock, rules::load, publisher).with_shadow_mode(shadow_mode);
        Ok(Self::Files(Arc::new(reloader)))
    }

    /// Loads the files for the first time, or what the control plane sent to the last process, if that was kept.
    ///
    /// # Errors
    /// The files do not load.
    pub(super) fn load(&self) -> Result<Option<Loaded>, LoadError> {
        match self {
            Self::Files(files) => files.load().map(Some),
            Self::ControlPlane(rules, _) => {
                rules.restore();
                Ok(None)
            }
        }
    }

    /// Follows changes from now on; those of files until what is returned is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(&self, phases: Phases) -> io::Result<Following> {
        match self {
            Self::Files(files) => files.watch(Pace::default()).map(Following::Files),
            Self::ControlPlane(rules, client) => {
                xds::follow(Client::clone(client), rules, phases);
                let watched = Arc::clone(rules);
                let watch = || small_files::watch("tidegate-overlay", move || watched.refresh_overlay());
                rules.has_overlay().then(watch).transpose().map(Following::Overlay)
            }
        }
    }

    /// Logs what the files had when they were loaded for the first time.
    pub(super) fn log(&self, loaded: Option<&Loaded>) {
        if let (Self::Files(files), Some(loaded)) = (self, loaded) {
            files.log(loaded);
        }
    }

    /// Loads again because of a signal, and logs the outcome. Blocks.
    pub(super) fn reload(&self) {
        match self {
            // The reloader logs the outcome itself.
            Self::Files(files) => drop(files.reload()),
            Self::ControlPlane(rules, _) => {
                tracing::info!("SIGHUP has no effect on rules that the control plane sends");
                rules.refresh_overlay();
            }
        }
    }

    /// Waits until rules are in force.
    pub(super) async fn in_force(&self) {
        if let Self::ControlPlane(rules, _) = self {
            rules.in_force().await;
        }
    }

    /// How it goes with the control plane; `None`: there is none.
    pub(super) fn xds(&self) -> Option<Arc<XdsStatus>> {
        match self {
            Self::Files(_) => None,
            Self::ControlPlane(rules, _) => Some(Arc::clone(rules.status())),
        }
    }
}

/// The thread that looks at files, if there is one. It ends when this is dropped.
#[derive(Debug)]
#[allow(dead_code, reason = "they are kept until they are dropped")]
pub(super) enum Following {
    /// With the rules.
    Files(Watch),
    /// With what is laid over the rules of a control plane, if there is such a file.
    Overlay(Option<Worker>),
}

/// The client of the control plane, with files that can be used; `None`: there is no control plane.
fn client(settings: &XdsSettings) -> Result<Option<Client>, XdsError> {
    let Some(mut server) = settings.xds.clone() else { return Ok(None) };
    let files = ServerFiles {
        ca: settings.xds_ca.clone(),
        cert: settings.xds_cert.clone(),
        key: settings.xds_key.clone(),
        name: settings.xds_server_name.clone(),
    };
    if !server.set_files(files) {
        return Err(XdsError::NoTls(server));
    }
    server.check().map_err(XdsError::Tls)?;
    Ok(Some(Client {
        server,
        node_id: settings.xds_node_id.clone(),
        node_metadata: settings.xds_node_metadata.clone(),
        headers: settings.xds_headers.as_ref().map(headers).transpose()?.unwrap_or_default(),
        max_message_bytes: usize::try_from(settings.xds_max_bytes.0).unwrap_or(usize::MAX),
        retry: (settings.xds_retry, settings.xds_retry_max),
    }))
}

type Header = (MetadataKey<Ascii>, MetadataValue<Ascii>);

/// The headers of `NAME:VALUE,NAME:VALUE`.
fn headers(text: &Secret) -> Result<Vec<Header>, XdsError> {
    let text = text.reveal().map_err(|error| XdsError::Headers(format!("the file cannot be read: {error}")))?;
    let header = |(place, header): (usize, &str)| {
        let wrong = |what| XdsError::Headers(format!("header {place}: {what}: write NAME:VALUE"));
        let (name, value) = header.split_once(':').ok_or_else(|| wrong("it has no colon"))?;
        let name = MetadataKey::from_bytes(name.trim().to_ascii_lowercase().as_bytes());
        let value = MetadataValue::try_from(value.trim());
        Ok((name.map_err(|_| wrong("not a name"))?, value.map_err(|_| wrong("not a value"))?))
    };
    (1..).zip(text.split(',').filter(|header| !header.trim().is_empty())).map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_and_values_and_never_shown() {
        let read = |text: &str| {
            let found = headers(&text.parse().unwrap())?;
            let shown = found.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
            Ok(shown.collect::<Vec<_>>().join(" "))
        };
        let shown = |text: &str| read(text).map_err(|error: XdsError| error.to_string());
        assert_eq!(shown("Authorization: Bearer abc:d, x-b:1,"), Ok("authorization=Bearer abc:d x-b=1".to_owned()));
        assert_eq!(shown(""), Ok(String::new()));
        for text in ["secret", "a:1,secret :2:3,sec ret:3", "a:secret\u{1}"] {
            let error = shown(text).unwrap_err();
            assert!(error.starts_with("--xds-headers: header") && !error.contains("secret"), "{error}");
        }
    }
}
