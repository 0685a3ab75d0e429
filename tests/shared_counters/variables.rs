//! The Redis that the variables of envoyproxy/ratelimit name.

use std::fs;
use std::process::{Command, Stdio};

use crate::engines::{Engine, Kind};
use crate::replicas::admitted;
use crate::server::{TestServer, binary};

/// A replica in the place of envoyproxy/ratelimit, with these variables too.
fn replica(redis: &str, variables: &[(&str, &str)]) -> TestServer {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ratelimit/config");
    fs::create_dir_all(&config).unwrap();
    let rules = "domain: api\ndescriptors: [{key: plain, rate_limit: {unit: year, requests_per_unit: 3}}]\n";
    fs::write(config.join("config.yaml"), rules).unwrap();
    let mut command = Command::new(binary());
    command.args(["serve", "--as-ratelimit", "--store-timeout", "1s"]).env_clear();
    command.envs([("RUNTIME_SUBDIRECTORY", "ratelimit"), ("REDIS_SOCKET_TYPE", "tcp"), ("REDIS_URL", redis)]);
    command.env("RUNTIME_ROOT", dir.path()).envs(variables.iter().copied());
    for port in ["GRPC_ADDR", "HTTP_ADDR", "ADMIN_ADDR", "DEBUG_ADDR"] {
        command.env(format!("TIDEGATE_{port}"), "127.0.0.1:0");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    TestServer::spawn(dir, command)
}

#[tokio::test]
async fn replicas_share_counters_on_it_if_they_are_asked_to() {
    let Some(kind) = Kind::any() else { return };
    let engine = Engine::start(kind);
    let redis = format!("127.0.0.1:{}", engine.port);
    let mut answers = Vec::new();
    for variables in [&[("TIDEGATE_STORE", "variables")][..], &[]] {
        let replicas = [replica(&redis, variables), replica(&redis, variables)];
        for replica in &replicas {
            let shares = !variables.is_empty();
            replica.log_until(if shares { "the store answers" } else { "REDIS_URL is set, and not used" });
        }
        let mut count = 0;
        for replica in &replicas {
            let channel = replica.channel().await;
            for _ in 0..3 {
                count += u32::from(admitted(&channel, &[("plain", "x")]).await);
            }
        }
        answers.push(count);
    }
    assert_eq!(answers, [3, 6], "shared, and each on its own");
}
