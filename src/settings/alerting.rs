//! Who is notified of alerts, and by what server.

use clap::Args;

use super::Secret;

/// Who is notified of alerts that name no receiver of their own, and by what server mail goes out.
#[derive(Args, Clone, Debug, Default)]
pub struct AlertSettings {
    /// Where alerts are POSTed that name no receiver: a URL, or @FILE that holds it
    ///
    /// A URL that is a secret belongs in the variable or a file: flags are seen by every user of the machine.
    #[arg(long, env = "TIDEGATE_ALERT_WEBHOOK", value_name = "URL", hide_env_values = true)]
    pub alert_webhook: Option<Secret>,

    /// Whom alerts are mailed to that name no receiver: addresses, with commas between them
    #[arg(long, env = "TIDEGATE_ALERT_MAIL_TO", value_name = "ADDRESSES", value_delimiter = ',')]
    pub alert_mail_to: Vec<String>,

    /// Whom alerts are mailed from, unless their rules file says so
    #[arg(long, env = "TIDEGATE_ALERT_MAIL_FROM", value_name = "ADDRESS")]
    pub alert_mail_from: Option<String>,

    /// The server that mail goes out by: smtps://USER:PASSWORD@HOST, smtp://HOST:PORT?tls=required, or @FILE that holds it
    ///
    /// A password belongs in the variable or a file: flags are seen by every user of the machine.
    #[arg(long, env = "TIDEGATE_SMTP_URL", value_name = "URL", hide_env_values = true)]
    pub smtp_url: Option<Secret>,
}
