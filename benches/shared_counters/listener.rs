//! Several processes that listen at one port, as systemd would pass the socket to each of them.

use std::env;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::cores;

/// The first argument with which this binary opens a socket, and becomes a command; the port and the command follow.
pub(crate) const ROLE: &str = "--listening-at";

/// The command on a core, with a socket at this port of 127.0.0.1 that others may have, too (SO_REUSEPORT).
pub(crate) fn on(core: usize, port: u16, command: &Command) -> Command {
    let mut listening = cores::on(&[core], env::current_exe().unwrap());
    listening.args([ROLE, &port.to_string()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| listening.env(name, value));
    }
    listening
}

/// Becomes the command, with the same process id.
pub(crate) fn become_command(arguments: &[String]) {
    let [port, program, arguments @ ..] = arguments else { panic!("a port and a command") };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    socket.bind(&SockAddr::from(address)).unwrap();
    socket.listen(BACKLOG).unwrap();
    socket.set_cloexec(false).unwrap();
    assert_eq!(socket.as_raw_fd(), FIRST, "the number of the first socket that is passed");
    let variables =
        [("LISTEN_PID", process::id().to_string()), ("LISTEN_FDS", "1".into()), ("LISTEN_FDNAMES", "grpc".into())];
    panic!("{program}: {}", Command::new(program).args(arguments).envs(variables).exec());
}

const BACKLOG: i32 = 1_024;
/// SD_LISTEN_FDS_START.
const FIRST: i32 = 3;
