//! `tidegate settings`: lists, shows, sets and unsets limits at run time.

use clap::{Args, Subcommand};
use prost_types::Duration;

use super::connection::{Client, Connection, Outcome};
use super::render::{counted, inactive, origin, scope, until};
use super::scope_filter::ScopeFilter;
use super::time::{instant, instant_from, parse_length, timestamp};
use crate::api::proto::tidegate::v1::{
    Entry, GetSettingRequest, GetSettingResponse, ListSettingsRequest, ListSettingsResponse, SetSettingRequest,
    SetSettingResponse, SettingScope, SharedChanges, UnsetSettingRequest, UnsetSettingResponse,
};
use crate::cli::descriptor::parse_entry;
use crate::cli::table::{Align, Table, paragraph};
use crate::units::{Nanos, Timestamp};

/// `tidegate settings COMMAND`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SettingsCommand {
    /// List every setting: scope, value, who set it, when, why, and until when
    ///
    /// Example: tidegate settings list
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    List(List),
    /// Print the effective value of a name, and where it comes from
    ///
    /// Example: tidegate settings get --rule api.user requests_per_unit
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Get(Get),
    /// Set a value, from the next check on
    ///
    /// Names of a rule: requests_per_unit (negative: unlimited), period, burst, queue, ban, enabled, shadow_mode. Names of a
    /// domain, and of everything (without --rule and --domain): enabled, shadow_mode. Counters keep their counts.
    ///
    /// Example: tidegate settings set --rule api.user requests_per_unit 1000 --for 2h --reason sale
    ///
    /// Example: tidegate settings set --domain api --entry tenant=acme enabled false
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Set(Set),
    /// Remove a setting: the value of the wider scope, or of the file, is effective again
    ///
    /// Example: tidegate settings unset --rule api.user requests_per_unit
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Unset(Unset),
}

/// `tidegate settings list`.
#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filter: ScopeFilter,

    #[command(flatten)]
    connection: Connection,
}

/// `tidegate settings get`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Get {
    #[command(flatten)]
    scope: Scope,

    /// Name of the setting, such as requests_per_unit
    name: String,

    #[command(flatten)]
    connection: Connection,
}

/// `tidegate settings set`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Set {
    #[command(flatten)]
    scope: Scope,

    /// Name of the setting, such as requests_per_unit
    name: String,

    /// Value, as in a rules file; -1 for unlimited
    #[arg(allow_negative_numbers = true)]
    value: String,

    /// How long it is in force, such as 2h [default: until it is unset]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_length)]
    length: Option<Duration>,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    connection: Connection,
}

/// `tidegate settings unset`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Unset {
    #[command(flatten)]
    scope: Scope,

    /// Name of the setting, such as requests_per_unit
    name: String,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    connection: Connection,
}

/// What a setting applies to: without a rule and a domain to everything.
#[derive(Args, Clone, Debug)]
struct Scope {
    /// A rule, by its path as /rlconfig shows it
    #[arg(long, value_name = "PATH", group = "place", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    rule: Option<String>,

    /// A whole domain
    #[arg(long, value_name = "NAME", group = "place", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    domain: Option<String>,

    /// Only checks whose entries have this value; repeat the flag for more entries
    #[arg(long = "entry", value_name = "KEY=VALUE", requires = "place", value_parser = parse_entry)]
    entries: Vec<Entry>,

    /// The place of the limit, from 1, if the rule has several
    #[arg(long, value_name = "N", requires = "rule", conflicts_with = "domain", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl From<Scope> for SettingScope {
    fn from(Scope { rule, domain, entries, limit }: Scope) -> Self {
        Self {
            rule: rule.unwrap_or_default(),
            domain: domain.unwrap_or_default(),
            entries,
            limit: limit.unwrap_or_default(),
        }
    }
}

impl SettingsCommand {
    /// Asks the server.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::List(List { filter, connection }) => {
                let ScopeFilter { rule, domain, entries } = filter;
                let (rule, domain) = (rule.unwrap_or_default(), domain.unwrap_or_default());
                let request = ListSettingsRequest { rule, domain, entries };
                connection.answer("ListSettingsResponse", async |client| client.list_settings(request).await, list)
            }
            Self::Get(Get { scope, name, connection }) => {
                let request = GetSettingRequest { scope: Some(scope.into()), name };
                let asked = request.clone();
                connection.answer(
                    "GetSettingResponse",
                    async |client| client.get_setting(request).await,
                    |answer, now| get(&asked, answer, now),
                )
            }
            Self::Set(command) => command.outcome(),
            Self::Unset(command) => command.outcome(),
        }
    }
}

impl Set {
    fn outcome(self) -> Outcome {
        let Self { scope, name, value, length, reason, connection } = self;
        let request = SetSettingRequest { scope: Some(scope.into()), name, value, r#for: length, reason };
        let call = async |client: &mut Client| client.set_setting(request).await;
        connection.change("SetSettingResponse", call, set, |answer| &answer.warning)
    }
}

impl Unset {
    fn outcome(self) -> Outcome {
        let Self { scope, name, reason, connection } = self;
        let request = UnsetSettingRequest { scope: Some(scope.into()), name, reason };
        let call = async |client: &mut Client| client.unset_setting(request).await;
        connection.change("UnsetSettingResponse", call, |answer, _| unset(answer), |answer| &answer.warning)
    }
}

fn list(ListSettingsResponse { settings, read_only, shared }: &ListSettingsResponse, now: Timestamp) -> String {
    let note = if *read_only { "settings cannot be changed: the server runs with --settings read-only" } else { "" };
    let mut lines = Vec::new();
    if settings.is_empty() {
        lines.push("no settings".to_owned());
    } else {
        let left = Align::Left;
        let mut table =
            Table::new(&[("scope", left), ("name", left), ("value", left), ("until", left)]).repeating_cut();
        for setting in settings {
            let until =
                setting.until.as_ref().map_or_else(|| "until unset".to_owned(), |until| instant_from(until, now));
            table.row([scope(setting.scope.as_ref()), setting.name.clone(), setting.value.clone(), until]);
            table.note(&origin(setting));
            table.note(&inactive(setting));
        }
        lines.push(table.to_string());
    }
    lines.extend(Some(paragraph(0, note)).filter(|note| !note.is_empty()));
    lines.extend(shared.as_ref().map(|shared| paragraph(0, &how_shared(shared, now))));
    lines.join("\n")
}

/// How settings are shared, in words.
fn how_shared(shared: &SharedChanges, now: Timestamp) -> String {
    let SharedChanges { replicas, synchronized_at, pending, .. } = shared;
    let Some(at) = synchronized_at else {
        return "not shared yet: the store of shared counters has not answered since the server started".to_owned();
    };
    let age = now.since(timestamp(at));
    let others = match replicas.saturating_sub(1) {
        1 => "1 other replica".to_owned(),
        others => format!("{others} other replicas"),
    };
    if *pending > 0 {
        format!("{} not shared with {others} yet: the store does not have them", counted(*pending, "change"))
    } else if age > LATE {
        format!("shared with {others}, but not since {}: what was changed there later is unknown", instant(at))
    } else {
        format!("shared with {others}")
    }
}

/// Changes are exchanged several times a second.
const LATE: Nanos = Nanos::from_secs(5);

fn get(asked: &GetSettingRequest, answer: &GetSettingResponse, now: Timestamp) -> String {
    let GetSettingResponse { value, source, setting } = answer;
    let mut lines = vec![
        paragraph(0, &format!("{} of {}: {value}", asked.name, scope(asked.scope.as_ref()))),
        paragraph(2, &format!("from: {source}")),
    ];
    if let Some(setting) = setting {
        lines.push(paragraph(2, &origin(setting)));
        lines.extend(setting.until.as_ref().map(|until| paragraph(2, &format!("until {}", instant_from(until, now)))));
        lines.extend(Some(inactive(setting)).filter(|why| !why.is_empty()).map(|why| paragraph(2, &why)));
    }
    lines.join("\n")
}

fn set(SetSettingResponse { setting, old, .. }: &SetSettingResponse, now: Timestamp) -> String {
    let Some(setting) = setting else { return "set".to_owned() };
    let was = if old.is_empty() { String::new() } else { format!(" (was {old})") };
    let what = format!("{} of {}", setting.name, scope(setting.scope.as_ref()));
    let mut lines = vec![paragraph(0, &format!("set {what} to {}{was}{}", setting.value, until(setting, now)))];
    lines.extend(Some(inactive(setting)).filter(|why| !why.is_empty()).map(|why| paragraph(2, &why)));
    lines.join("\n")
}

fn unset(UnsetSettingResponse { setting, value, .. }: &UnsetSettingResponse) -> String {
    let Some(setting) = setting else { return "unset".to_owned() };
    let what = format!("{} of {}", setting.name, scope(setting.scope.as_ref()));
    let now = if value.is_empty() { String::new() } else { format!(", now {value}") };
    paragraph(0, &format!("unset {what} (was {}){now}", setting.value))
}

#[cfg(test)]
mod tests;
