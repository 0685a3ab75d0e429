//! The receivers of an alert.

use std::fmt;

use crate::rules::{Alert, Target};
use crate::settings::{AlertSettings, Secret};

/// One receiver of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// A URL that accepts a POST.
    Webhook {
        /// The address.
        address: Address,
        /// Additional headers: the name, and the environment variable that contains the value.
        headers: Vec<(String, String)>,
    },
    /// Mail addresses.
    Mail {
        /// The recipients, at least one.
        to: Vec<String>,
        /// The sender; `None` if none is configured, and no mail can be sent.
        from: Option<String>,
    },
}

/// Where the URL of a webhook comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// From the rules file.
    Url(String),
    /// From that environment variable.
    Variable(String),
    /// From the settings of the process.
    Secret(Secret),
}

impl Receiver {
    /// The receivers of an alert: its own, or if it names none, those of the process.
    pub(crate) fn for_alert(alert: &Alert, settings: &AlertSettings) -> Vec<Self> {
        let webhook = alert.webhook.as_ref().map(|webhook| Self::Webhook {
            address: match &webhook.target {
                Target::Url(url) => Address::Url(url.clone()),
                Target::Variable(name) => Address::Variable(name.clone()),
            },
            headers: webhook.headers.clone(),
        });
        let mail = alert.mail.as_ref().map(|mail| Self::Mail {
            to: mail.to.clone(),
            from: mail.from.clone().or_else(|| settings.alert_mail_from.clone()),
        });
        let own: Vec<_> = webhook.into_iter().chain(mail).collect();
        if own.is_empty() { Self::for_process(settings) } else { own }
    }

    fn for_process(settings: &AlertSettings) -> Vec<Self> {
        let AlertSettings { alert_webhook, alert_mail_to, alert_mail_from, .. } = settings;
        let webhook = alert_webhook
            .as_ref()
            .map(|secret| Self::Webhook { address: Address::Secret(secret.clone()), headers: Vec::new() });
        let mail = (!alert_mail_to.is_empty())
            .then(|| Self::Mail { to: alert_mail_to.clone(), from: alert_mail_from.clone() });
        webhook.into_iter().chain(mail).collect()
    }

    /// What is missing for a delivery, as far as that can be known beforehand.
    pub(crate) fn lacks(&self, settings: &AlertSettings) -> Option<String> {
        match self {
            Self::Webhook { address, headers } => {
                let variable = match address {
                    Address::Variable(name) => Some(name),
                    Address::Url(_) | Address::Secret(_) => None,
                };
                let mut named = variable.into_iter().chain(headers.iter().map(|(_, name)| name));
                named.find(|name| Secret::from_env(name).is_none()).map(|name| format!("{name} is not set"))
            }
            Self::Mail { .. } if settings.smtp_url.is_none() => Some("--smtp-url is not set".to_owned()),
            Self::Mail { from: None, .. } => {
                Some("no sender: set 'from' in the alert, or --alert-mail-from".to_owned())
            }
            Self::Mail { .. } => None,
        }
    }
}

/// Without parts that may be secret: of a URL only the host.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { address: Address::Url(url), .. } => {
                let host = url.parse::<http::Uri>().ok().and_then(|url| Some(url.authority()?.host().to_owned()));
                write!(f, "webhook at {}", host.as_deref().unwrap_or("an address without a host"))
            }
            Self::Webhook { address: Address::Variable(name), .. } => write!(f, "webhook in {name}"),
            Self::Webhook { address: Address::Secret(_), .. } => f.write_str("webhook of --alert-webhook"),
            Self::Mail { to, .. } => write!(f, "mail to {}", to.join(", ")),
        }
    }
}
