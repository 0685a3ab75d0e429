//! One attempt to send one notification: a POST or a mail.

use std::sync::Arc;
use std::time::Duration;

use lettre::address::AddressError;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Mailboxes, MessageBuilder};
use lettre::{Message, SmtpTransport, Transport};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::receiver::Address;
use super::{Instance, Notification, Receiver};
use crate::sanitize::sanitize;
use crate::settings::Secret;

/// Sends notifications, one at a time, each within [`TIMEOUT`].
#[derive(Debug)]
pub(crate) struct Notifier {
    agent: Agent,
    smtp_url: Option<Secret>,
    instance: Instance,
}

/// Why an attempt failed. The text contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeliveryError {
    /// Another attempt may succeed.
    #[error("{0}")]
    ForNow(String),
    /// No attempt will succeed.
    #[error("{0}")]
    ForGood(String),
}

impl Notifier {
    /// A notifier that sends mail through the server at `smtp_url`; notifications name `instance`.
    pub(super) fn new(smtp_url: Option<Secret>, instance: Instance) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider);
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .timeout_global(Some(TIMEOUT))
            // A redirected POST may become a GET, and its secret headers may go to another host.
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        Self { agent: agent.build().into(), smtp_url, instance }
    }

    /// Makes one attempt. Waits for the receiver, at most [`TIMEOUT`].
    ///
    /// # Errors
    /// Why the attempt failed.
    pub(super) fn deliver(&self, notification: &Notification, receiver: &Receiver) -> Result<(), DeliveryError> {
        match receiver {
            Receiver::Webhook { address, headers } => self.post(notification, address, headers),
            Receiver::Mail { to, from } => self.mail(notification, to, from.as_deref()),
        }
    }

    fn post(
        &self,
        notification: &Notification,
        address: &Address,
        headers: &[(String, String)],
    ) -> Result<(), DeliveryError> {
        let url = match address {
            Address::Url(url) => url.clone(),
            Address::Variable(name) => revealed(name)?,
            Address::Secret(secret) => reveal(secret, "--alert-webhook")?,
        };
        let mut request = self.agent.post(url).content_type("application/json");
        for (header, variable) in headers {
            request = request.header(header, revealed(variable)?);
        }
        let answer = request.send(notification.json(&self.instance).to_string()).map_err(|error| not_posted(&error))?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            // Request timeout, too early, too many requests, and errors of the server: RFC 9110, RFC 8470, RFC 6585.
            status @ (408 | 425 | 429 | 500..) => Err(DeliveryError::ForNow(format!("HTTP status {status}"))),
            status => Err(DeliveryError::ForGood(format!("HTTP status {status}"))),
        }
    }

    fn mail(&self, notification: &Notification, to: &[String], from: Option<&str>) -> Result<(), DeliveryError> {
        let secret =
            self.smtp_url.as_ref().ok_or_else(|| DeliveryError::ForGood("--smtp-url is not set".to_owned()))?;
        let from = from.ok_or_else(|| {
            DeliveryError::ForGood("no sender: set 'from' in the alert, or --alert-mail-from".to_owned())
        })?;
        let mail = compose(notification, &self.instance, to, from)?;
        let url = reveal(secret, "--smtp-url")?;
        // The error may quote the URL, and the password in it.
        let unusable =
            |_| DeliveryError::ForGood("--smtp-url is not valid: expected smtps://USER:PASSWORD@HOST".to_owned());
        let transport = SmtpTransport::from_url(&url).map_err(unusable)?.timeout(Some(TIMEOUT)).build();
        transport.send(&mail).map(|_| ()).map_err(|error| not_mailed(&error))
    }
}

fn compose(
    notification: &Notification,
    instance: &Instance,
    to: &[String],
    from: &str,
) -> Result<Message, DeliveryError> {
    let address = |text: &str| {
        let parsed: Result<_, AddressError> = text.parse();
        let wrong = |_| DeliveryError::ForGood(format!("'{}' is not a mail address", sanitize(text)));
        parsed.map(|address| Mailbox::new(None, address)).map_err(wrong)
    };
    let recipients = to.iter().map(|text| address(text)).collect::<Result<Mailboxes, _>>()?;
    let header: lettre::message::header::To = recipients.into();
    let builder: MessageBuilder = Message::builder().from(address(from)?).mailbox(header);
    let text = format!("{}\n\n{:#}\n", notification.text(instance), notification.json(instance));
    builder
        .subject(notification.subject_line(instance))
        // Keeps out-of-office software from replying: RFC 3834.
        .raw_header(lettre::message::header::HeaderValue::new(
            lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .header(ContentType::TEXT_PLAIN)
        .body(text)
        .map_err(|error| DeliveryError::ForGood(format!("the mail cannot be composed: {error}")))
}

fn revealed(variable: &str) -> Result<String, DeliveryError> {
    let secret = Secret::from_env(variable).ok_or_else(|| DeliveryError::ForGood(format!("{variable} is not set")))?;
    reveal(&secret, variable)
}

/// A file that cannot be read now may be readable later.
fn reveal(secret: &Secret, name: &str) -> Result<String, DeliveryError> {
    secret
        .reveal()
        .map_err(|error| DeliveryError::ForNow(format!("the file that {name} names cannot be read: {error}")))
}

fn not_posted(error: &ureq::Error) -> DeliveryError {
    match error {
        // These quote the URL or the header, which may be secret.
        ureq::Error::BadUri(_) => DeliveryError::ForGood("the URL is not valid".to_owned()),
        ureq::Error::Http(_) => DeliveryError::ForGood("the URL or one of the headers is not valid".to_owned()),
        other => DeliveryError::ForNow(sanitize(&other.to_string())),
    }
}

fn not_mailed(error: &lettre::transport::smtp::Error) -> DeliveryError {
    let what = sanitize(&error.to_string());
    if error.is_permanent() { DeliveryError::ForGood(what) } else { DeliveryError::ForNow(what) }
}

/// A receiver has only to accept a notification, which takes far less.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
