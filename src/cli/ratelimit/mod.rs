//! `ratelimit` mode: in the place of envoyproxy/ratelimit, with its variables and whatever arguments it is given.
//!
//! On when the program is called `ratelimit`, as manifests call the reference, or by `serve --as-ratelimit`. Never otherwise: names such as `HOST`
//! and `PORT` are everybody's.
//!
//! ```text
//! environment --Translation--> flags of `serve` ┐
//! arguments --those that are known-----------> ├--> clap, as always
//!                                               └--> Notes: what is honoured, ignored, and to be warned of
//! ```

mod arguments;
mod duration;
mod environment;
mod files;
mod statsd;
mod store;
mod tracing_variables;
mod translation;

use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory;

use super::Cli;
use crate::settings::ReferenceSettings;
use environment::Environment;
use translation::Translation;

/// What takes the place of the command line.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The command line of `serve`, with the name of the program.
    pub(super) arguments: Vec<OsString>,
    /// What there are no flags for.
    pub(super) reference: ReferenceSettings,
    /// For the log.
    pub(super) notes: Notes,
}

/// What the log says of variables and arguments, in one block.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Variables that are honoured, with values where these are not secret.
    pub(super) honoured: Vec<String>,
    /// Variables that are ignored, and why.
    pub(super) ignored: Vec<String>,
    /// Arguments that are ignored.
    pub(super) arguments: Vec<String>,
    /// What an operator has to know.
    pub(super) warnings: Vec<String>,
}

impl Notes {
    /// Writes the block.
    pub(super) fn log(&self) {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        tracing::info!("ratelimit mode: variables that are honoured: {}", list(&self.honoured));
        tracing::info!("ratelimit mode: variables that are ignored: {}", list(&self.ignored));
        if !self.arguments.is_empty() {
            tracing::warn!("ratelimit mode: arguments that are ignored: {}", list(&self.arguments));
        }
        for warning in &self.warnings {
            tracing::warn!("ratelimit mode: {warning}");
        }
    }
}

/// The command line in this mode; `None`: the mode is off.
///
/// # Errors
/// A variable has a value that cannot be used.
pub(super) fn prepare(
    arguments: &[OsString],
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Option<Result<Prepared, String>> {
    let environment = Environment::new(variables);
    let own = own_arguments(arguments, &environment)?;
    Some(translate(own, environment))
}

/// The arguments behind the program and the command, if the mode is on.
fn own_arguments<'a>(arguments: &'a [OsString], environment: &Environment) -> Option<&'a [OsString]> {
    let (program, rest) = arguments.split_first()?;
    let is_called_so = Path::new(program).file_name().is_some_and(|name| name == NAME);
    let command = rest.first().and_then(|first| first.to_str());
    if command == Some("serve") {
        let rest = rest.get(1..).unwrap_or_default();
        let flag = rest.iter().any(|argument| argument == "--as-ratelimit");
        let asked = flag || environment.is_true("TIDEGATE_AS_RATELIMIT");
        return (is_called_so || asked).then_some(rest);
    }
    let is_command = command.is_some_and(|name| Cli::command().get_subcommands().any(|known| known.get_name() == name));
    let asks_for_help = command.is_some_and(|first| ["--help", "-h", "--version", "-V", "help"].contains(&first));
    (is_called_so && !is_command && !asks_for_help).then_some(rest)
}

fn translate(given: &[OsString], environment: Environment) -> Result<Prepared, String> {
    let (known, ignored) = arguments::split(given);
    let mut translation = Translation::new(environment, &known);
    translation.run()?;
    let Translation { flags, reference, mut notes, .. } = translation;
    notes.arguments = ignored;
    let words = ["tidegate", "serve"].map(OsString::from).into_iter();
    let arguments = words.chain(known).chain(flags.into_iter().map(OsString::from)).collect();
    Ok(Prepared { arguments, reference, notes })
}

/// What manifests call the reference.
const NAME: &str = "ratelimit";

#[cfg(test)]
mod tests;
