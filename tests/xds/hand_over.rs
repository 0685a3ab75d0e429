//! A new process takes the place of the one that runs, with rules from a control plane: no request fails, no count is lost or doubled.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::TestServer;
use crate::control_plane::{Behaviour, ControlPlane};
use crate::replica::{command, limit, limit_becomes};
use crate::server::{DEADLINE, Load, eventually};
use crate::sets::Set;

const MAX: u64 = 3_000;
const RULES: &str = "api\n  user 3000/year\n";

/// Ends a process with the test.
struct Successor(Child);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A server with rules of the control plane and a data directory.
fn first(plane: &ControlPlane, data: &TempDir) -> TestServer {
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--workers", "2", "--shutdown-deadline", "40s"];
    let server = TestServer::spawn(tempfile::tempdir().unwrap(), command(&plane.url(), &flags));
    limit_becomes(&server, "api.user", Some(3_000));
    eventually("the file of the set", || data.path().join("xds.set").exists());
    server
}

/// The place of the server is taken, under load.
async fn hand_over(mut server: TestServer, plane: &ControlPlane, data: &TempDir, meanwhile: impl FnOnce()) {
    let load = Load::on(&server.grpc);
    load.answered(200).await;
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--shutdown-deadline", "40s", "--hand-over"];
    let mut next = command(&plane.url(), &flags);
    for (flag, address) in
        [("--grpc-addr", &server.grpc), ("--http-addr", &server.http), ("--admin-addr", &server.admin)]
    {
        let at = next.get_args().position(|argument| argument == flag).unwrap() + 1;
        next = replaced(&next, at, address);
    }
    let _successor = Successor(next.stderr(Stdio::null()).spawn().unwrap());
    let ended = tokio::task::block_in_place(|| server.ended(DEADLINE));
    assert!(ended.success(), "the old process ends in order");
    meanwhile();
    load.answered(200).await;
    assert_eq!(load.admitted().await, MAX);
    tokio::task::block_in_place(|| assert_eq!(limit(&server, "api.user"), Some(3_000)));
}

/// The command with another argument in this place.
fn replaced(command: &Command, place: usize, value: &str) -> Command {
    let arguments = command.get_args().enumerate();
    let arguments = arguments.map(|(at, argument)| if at == place { OsStr::new(value) } else { argument });
    let mut next = Command::new(command.get_program());
    next.args(arguments);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => next.env(name, value),
            None => next.env_remove(name),
        };
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_set_of_the_control_plane() {
    let data = tempfile::tempdir().unwrap();
    let (plane, server) = tokio::task::block_in_place(|| {
        let plane = ControlPlane::start(Set::new("1", RULES));
        let server = first(&plane, &data);
        (plane, server)
    });
    hand_over(server, &plane, &data, || {}).await;
    tokio::task::block_in_place(|| drop(plane));
}

/// It answers nobody: the new process has the set that the old one kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_control_plane_is_silent() {
    let data = tempfile::tempdir().unwrap();
    let (plane, server) = tokio::task::block_in_place(|| {
        let plane = ControlPlane::start(Set::new("1", RULES));
        let server = first(&plane, &data);
        (plane, server)
    });
    plane.behave(Behaviour { silent: true, ..Behaviour::default() });
    hand_over(server, &plane, &data, || {}).await;
    tokio::task::block_in_place(|| drop(plane));
}

/// The new process has nothing to begin with: connections wait until it has a set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_set_that_the_old_process_kept() {
    let data = tempfile::tempdir().unwrap();
    let (plane, server) = tokio::task::block_in_place(|| {
        let plane = ControlPlane::start(Set::new("1", RULES));
        let server = first(&plane, &data);
        (plane, server)
    });
    std::fs::write(data.path().join("xds.set"), "of another version\n").unwrap();
    plane.behave(Behaviour { silent: true, ..Behaviour::default() });
    hand_over(server, &plane, &data, || {
        plane.behave(Behaviour::default());
        plane.push(Set::new("2", RULES));
    })
    .await;
    tokio::task::block_in_place(|| drop(plane));
}
