//! Default receivers of alerts, and the mail server.

use clap::Args;

use super::Secret;

/// Receivers of alerts that name none of their own, and the mail server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Alerts")]
pub(crate) struct AlertSettings {
    /// Default webhook for alerts: a URL, or @FILE that contains it
    ///
    /// Pass a secret URL by variable or file: flags are visible to every user of the machine.
    #[arg(long, env = "TIDEGATE_ALERT_WEBHOOK", value_name = "URL", hide_env_values = true)]
    pub alert_webhook: Option<Secret>,

    /// Default recipients of alert mails, separated by commas
    #[arg(long, env = "TIDEGATE_ALERT_MAIL_TO", value_name = "ADDRESSES", value_delimiter = ',')]
    pub alert_mail_to: Vec<String>,

    /// Sender of alert mails, unless the rules file names one
    #[arg(long, env = "TIDEGATE_ALERT_MAIL_FROM", value_name = "ADDRESS")]
    pub alert_mail_from: Option<String>,

    /// Mail server: smtps://USER:PASSWORD@HOST, smtp://HOST:PORT?tls=required, or @FILE that contains the URL
    ///
    /// Pass a password by variable or file: flags are visible to every user of the machine.
    #[arg(long, env = "TIDEGATE_SMTP_URL", value_name = "URL", hide_env_values = true)]
    pub smtp_url: Option<Secret>,
}
