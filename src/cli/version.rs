//! `tidegate version`: what this binary was built from, and how.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::print;

/// How to print it.
#[derive(Args, Clone, Debug)]
pub(super) struct Version {
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
}

impl Version {
    pub(super) fn run(&self) -> ExitCode {
        let features: &[&str] = if cfg!(feature = "bench") { &["bench"] } else { &[] };
        if self.json {
            let text = json!({
                "version": VERSION, "commit": COMMIT, "target": TARGET, "profile": PROFILE, "rustc": RUSTC, "features": features,
            });
            print(&text.to_string());
        } else {
            let commit = COMMIT.unwrap_or("unknown");
            let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
            print(&format!(
                "tidegate {VERSION}\ncommit: {commit}\ntarget: {TARGET}\nprofile: {PROFILE}\ncompiler: {RUSTC}\nfeatures: {features}"
            ));
        }
        ExitCode::SUCCESS
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Set by `build.rs`: of a release that was built in a clone, or what `TIDEGATE_COMMIT` said.
const COMMIT: Option<&str> = option_env!("BUILD_COMMIT");
const TARGET: &str = env!("BUILD_TARGET");
const PROFILE: &str = env!("BUILD_PROFILE");
const RUSTC: &str = env!("BUILD_RUSTC");
