//! The arguments that `serve` knows, and the others: the reference ignores all of its arguments, and manifests have some.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::sanitize::sanitize;

/// The arguments that are flags of `serve`, with their values, and the others for the log.
pub(super) fn split(given: &[OsString]) -> (Vec<OsString>, Vec<String>) {
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve");
    let flag_of = |argument: &str| {
        let name = argument.strip_prefix("--")?.split('=').next()?.to_owned();
        serve?.get_arguments().find(|flag| flag.get_long() == Some(&name)).cloned()
    };
    let (mut known, mut ignored) = (Vec::new(), Vec::new());
    let mut rest = given.iter().peekable();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        let Some(flag) = flag_of(&text) else {
            ignored.push(sanitize(&text));
            continue;
        };
        known.push(argument.clone());
        let takes_value = flag.get_action().takes_values() && !text.contains('=');
        known.extend(rest.next_if(|_| takes_value).cloned());
    }
    (known, ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_flags_keep_their_values() {
        for (line, known, ignored) in [
            ("", "", ""),
            ("--quotaRateLimitServiceAddr=x:1", "", "--quotaRateLimitServiceAddr=x:1"),
            ("-config /data/config.yaml", "", "-config /data/config.yaml"),
            ("--drain 9s x --shadow-mode y", "--drain 9s --shadow-mode", "x y"),
            ("--drain=9s --as-ratelimit", "--drain=9s --as-ratelimit", ""),
        ] {
            let given: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let found = split(&given);
            let joined = found.0.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
            assert_eq!((joined.as_str(), found.1.join(" ").as_str()), (known, ignored), "{line}");
        }
    }
}
