//! Compiles the protocol files under `proto/` without a system protoc.
//!
//! Three things come out of it:
//! - message types and clients (`wire::proto`), from the files as they are;
//! - the server side of Tidegate's own services;
//! - the server side of the rate limit service over raw frames (`wire::service`), because the hot path reads a
//!   request in place and writes its answer straight into the response frame.

use std::path::PathBuf;
use std::{env, fs};

/// Each file, and whether its services' server side is generated from it.
const FILES: [(&str, bool); 2] = [("envoy/service/ratelimit/v3/rls.proto", false), ("tidegate/v1/usage.proto", true)];
const INCLUDE: &str = "proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={INCLUDE}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let compile = |files: &[&str]| -> Result<protox::Compiler, protox::Error> {
        let mut compiler = protox::Compiler::new([INCLUDE])?;
        compiler.include_imports(true).include_source_info(false);
        compiler.open_files(files)?;
        Ok(compiler)
    };
    for (file, server) in FILES {
        let descriptors = compile(&[file])?.file_descriptor_set();
        tonic_prost_build::configure().build_server(server).compile_fds(descriptors)?;
    }
    fs::write(out.join("descriptors.bin"), compile(&FILES.map(|(file, _)| file))?.encode_file_descriptor_set())?;

    let check = tonic_build::manual::Method::builder()
        .name("should_rate_limit")
        .route_name("ShouldRateLimit")
        .comment("Decides about one check.")
        .input_type("crate::wire::RequestFrame")
        .output_type("crate::wire::ResponseFrame")
        .codec_path("crate::wire::FrameCodec")
        .build();
    let service = tonic_build::manual::Service::builder()
        .name("RateLimitService")
        .package("envoy.service.ratelimit.v3.raw")
        .comment("The rate limit service over raw frames.")
        .method(check)
        .build();
    let raw = out.join("raw");
    fs::create_dir_all(&raw)?;
    tonic_build::manual::Builder::new().build_client(false).out_dir(&raw).compile(&[service]);
    // The generator derives the gRPC path from the package, which also names the file: write the real path.
    let file = raw.join("envoy.service.ratelimit.v3.raw.RateLimitService.rs");
    let code = fs::read_to_string(&file)?.replace("envoy.service.ratelimit.v3.raw.", "envoy.service.ratelimit.v3.");
    fs::write(out.join("raw_rate_limit_service.rs"), code)?;
    Ok(())
}
