//! The path of the rules: `PATH` or `--config PATH`, the same in every subcommand; `serve` has another source, too.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// The path of the rules.
#[derive(Clone, Debug)]
pub(crate) struct ConfigPath(pub PathBuf);

/// The path of the rules, or none if a control plane sends them.
#[derive(Clone, Debug)]
pub(crate) struct RulesPath(pub Option<PathBuf>);

/// The paths of the rules, at least one; together they are one configuration.
#[derive(Clone, Debug)]
pub(crate) struct ConfigPaths(pub Vec<PathBuf>);

/// The arguments of [`ConfigPath`].
#[derive(Args)]
struct PathArgs {
    /// File or directory with the rules: of a directory, every *.yaml and *.yml file below it (dot files are skipped)
    ///
    /// Example: /etc/tidegate/rules
    #[arg(value_name = "PATH", required_unless_present = "config")]
    path: Option<PathBuf>,

    #[command(flatten)]
    flag: Flag,
}

/// The arguments of [`RulesPath`].
#[derive(Args)]
struct RulesArgs {
    /// File or directory with the rules: of a directory, every *.yaml and *.yml file below it (dot files are skipped)
    ///
    /// It is read again when it changes and on SIGHUP; if the new rules do not load, the current ones stay in force. Not with --xds.
    /// Example: /etc/tidegate/rules
    #[arg(value_name = "PATH", required_unless_present_any = ["config", "xds"])]
    path: Option<PathBuf>,

    #[command(flatten)]
    flag: Flag,
}

/// The arguments of [`ConfigPaths`].
#[derive(Args)]
struct PathsArgs {
    /// Files or directories with the rules, or - for standard input; several form one configuration
    #[arg(value_name = "PATH", required_unless_present = "config")]
    path: Vec<PathBuf>,

    #[command(flatten)]
    flag: Flag,
}

#[derive(Args)]
struct Flag {
    /// Same as PATH; one of the two is required
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
}

/// The paths from the arguments, the flag, or else the variable.
fn paths(matches: &ArgMatches) -> Result<Vec<PathBuf>, Error> {
    let arguments: Vec<PathBuf> = matches.get_many("path").into_iter().flatten().cloned().collect();
    let flag = matches.get_one::<PathBuf>("config");
    let is_typed = matches.value_source("config") == Some(ValueSource::CommandLine);
    match flag {
        Some(flag) if arguments.is_empty() => Ok(vec![flag.clone()]),
        Some(flag) if is_typed && arguments != [flag.clone()] => {
            Err(Error::raw(ErrorKind::ArgumentConflict, "PATH and --config give different paths: give one of them\n"))
        }
        _ => Ok(arguments),
    }
}

impl FromArgMatches for ConfigPath {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let first = paths(matches)?.into_iter().next();
        first.map(Self).ok_or_else(|| Error::raw(ErrorKind::MissingRequiredArgument, "PATH is missing\n"))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ConfigPath {
    fn augment_args(command: Command) -> Command {
        PathArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        PathArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for RulesPath {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        paths(matches).map(|paths| Self(paths.into_iter().next()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for RulesPath {
    fn augment_args(command: Command) -> Command {
        RulesArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        RulesArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for ConfigPaths {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let paths = paths(matches)?;
        if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
            let text = "PATH - is given twice, but standard input can be read only once: give it once\n";
            return Err(Error::raw(ErrorKind::ArgumentConflict, text));
        }
        Ok(Self(paths))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ConfigPaths {
    fn augment_args(command: Command) -> Command {
        PathsArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        PathsArgs::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<T: Args>(line: &str) -> Result<T, ErrorKind> {
        let command = T::augment_args(Command::new("test")).no_binary_name(true);
        let matches = command.try_get_matches_from(line.split_whitespace()).map_err(|error| error.kind())?;
        T::from_arg_matches(&matches).map_err(|error| error.kind())
    }

    #[test]
    fn the_path_is_an_argument_or_a_flag() {
        for (line, expected) in [
            ("a", Ok(vec!["a"])),
            ("--config a", Ok(vec!["a"])),
            ("a --config a", Ok(vec!["a"])),
            ("a b", Ok(vec!["a", "b"])),
            ("-", Ok(vec!["-"])),
            ("a --config b", Err(ErrorKind::ArgumentConflict)),
            ("a b --config b", Err(ErrorKind::ArgumentConflict)),
            ("", Err(ErrorKind::MissingRequiredArgument)),
        ] {
            let expected: Result<Vec<_>, _> = expected.map(|paths| paths.into_iter().map(PathBuf::from).collect());
            assert_eq!(given::<ConfigPaths>(line).map(|paths| paths.0), expected, "{line}");
            if line.contains("a b") {
                assert_eq!(given::<ConfigPath>(line).map(|path| path.0), Err(ErrorKind::UnknownArgument), "{line}");
            } else {
                assert_eq!(given::<ConfigPath>(line).map(|path| vec![path.0]), expected, "{line}");
            }
        }
    }
    #[test]
    fn standard_input_is_read_once() {
        let paths = |line| given::<ConfigPaths>(line).map(|paths| paths.0.len());
        assert_eq!((paths("a - b"), paths("a - -")), (Ok(3), Err(ErrorKind::ArgumentConflict)));
    }
}
