//! Compiles the protocol files under `proto/` without a system protoc.
//!
//! It generates:
//! - message types, clients, and the server side of the admin service (`api::proto`), from the files as they are;
//! - the same for xDS, where the server side is for the control plane of the tests;
//! - the server side of the usage service (`api::usage_service`), whose reports are encoded once for all observers with the
//!   same scope;
//! - the server side of the rate limit service over raw frames (`api::rls_service`), because the decision path reads a
//!   request in place and writes its answer directly into the response frame.
//!
//! It also records what `tidegate version` prints.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const FILES: [&str; 2] = ["envoy/service/ratelimit/v3/rls.proto", TIDEGATE];
/// Imports the others of the package, so that all its messages are generated at once.
const TIDEGATE: &str = "tidegate/v1/admin.proto";
/// What a client of xDS needs. Reflection does not list it: no port serves it.
const XDS: [&str; 2] = [DISCOVERY, "ratelimit/config/ratelimit/v3/rls_conf.proto"];
const DISCOVERY: &str = "envoy/service/discovery/v3/ads.proto";
const INCLUDE: &str = "proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={INCLUDE}");
    record_build()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let compile = |files: &[&str]| -> Result<protox::Compiler, protox::Error> {
        let mut compiler = protox::Compiler::new([INCLUDE])?;
        compiler.include_imports(true).include_source_info(false);
        compiler.open_files(files)?;
        Ok(compiler)
    };
    for file in FILES.into_iter().chain(XDS) {
        let descriptors = compile(&[file])?.file_descriptor_set();
        let is_served = [TIDEGATE, DISCOVERY].contains(&file);
        tonic_prost_build::configure().build_server(is_served).compile_fds(descriptors)?;
    }
    fs::write(out.join("descriptors.bin"), compile(&FILES)?.encode_file_descriptor_set())?;

    let check = tonic_build::manual::Method::builder()
        .name("should_rate_limit")
        .route_name("ShouldRateLimit")
        .comment("Decides one check.")
        .input_type("crate::api::rls::RequestFrame")
        .output_type("crate::api::rls::ResponseFrame")
        .codec_path("crate::api::rls::FrameCodec")
        .build();
    let service = tonic_build::manual::Service::builder()
        .name("RateLimitService")
        .package("envoy.service.ratelimit.v3.raw")
        .comment("The rate limit service over raw frames.")
        .method(check)
        .build();
    let raw = out.join("raw");
    fs::create_dir_all(&raw)?;
    tonic_build::manual::Builder::new().build_client(false).out_dir(&raw).compile(&[service, usage()]);
    // The generator derives the gRPC path from the package, which also names the file: write the real path.
    let file = raw.join("envoy.service.ratelimit.v3.raw.RateLimitService.rs");
    let code = fs::read_to_string(&file)?.replace("envoy.service.ratelimit.v3.raw.", "envoy.service.ratelimit.v3.");
    fs::write(out.join("raw_rate_limit_service.rs"), code)?;
    Ok(())
}

/// The usage service, as `tidegate/v1/usage.proto` declares it.
fn usage() -> tonic_build::manual::Service {
    let message = |name: &str| format!("crate::api::proto::tidegate::v1::{name}");
    let method = |name: &str, route: &str, input: &str, output: String, codec: &str| {
        tonic_build::manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type(message(input))
            .output_type(output)
            .codec_path(codec)
    };
    let reports = "crate::api::usage::EncodedReport".to_owned();
    let report_codec = "crate::api::usage::ReportCodec";
    let prost = "tonic_prost::ProstCodec";
    tonic_build::manual::Service::builder()
        .name("UsageService")
        .package("tidegate.v1")
        .comment("Usage for operators and observers.")
        .method(
            method("watch_usage", "WatchUsage", "WatchUsageRequest", reports, report_codec).server_streaming().build(),
        )
        .method(
            method("watch_denials", "WatchDenials", "WatchDenialsRequest", message("DenialReport"), prost)
                .server_streaming()
                .build(),
        )
        .method(method("query_usage", "QueryUsage", "QueryUsageRequest", message("QueryUsageResponse"), prost).build())
        .build()
}

/// The facts of the build, as variables for the compiler.
fn record_build() -> Result<(), env::VarError> {
    println!("cargo:rerun-if-env-changed=TIDEGATE_COMMIT");
    println!("cargo:rustc-env=BUILD_TARGET={}", env::var("TARGET")?);
    let profile = env::var("PROFILE")?;
    println!("cargo:rustc-env=BUILD_PROFILE={profile}");
    let rustc = output(&env::var("RUSTC")?, &["--version"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=BUILD_RUSTC={rustc}");
    let named = env::var("TIDEGATE_COMMIT").ok().filter(|commit| !commit.is_empty());
    // While the crate is worked on, each commit would compile it again.
    if let Some(commit) = named.or_else(|| (profile == "release").then(git_commit).flatten()) {
        println!("cargo:rustc-env=BUILD_COMMIT={commit}");
    }
    Ok(())
}

/// The commit that is checked out here, with `-modified` if files differ from it; `None` for sources without git.
fn git_commit() -> Option<String> {
    // Sources from a tarball may lie inside another repository.
    let root = output("git", &["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(root).ok()? != fs::canonicalize(env::var("CARGO_MANIFEST_DIR").ok()?).ok()? {
        return None;
    }
    for name in ["HEAD", "logs/HEAD"] {
        let path = output("git", &["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    // What is compiled may differ from the commit after the next edit.
    for path in ["src", "build.rs", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = output("git", &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { commit + "-modified" })
}

/// What a command prints, without the end of the line; `None` if it fails.
fn output(command: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(command).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
