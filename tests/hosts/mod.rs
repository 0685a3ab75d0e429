//! Several hosts on one machine: network namespaces, each with an address of its own on a bridge, whose cables can be pulled.
//!
//! They need root, and the program `ip`. What a thread opens or starts is in the namespace that it has moved to.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::server::Stopwatch;

/// The hosts, which are removed when it is dropped.
pub(crate) struct Network {
    /// The namespace of the bridge, and of the other ends of the cables.
    bridge: String,
    /// What runs things on hosts while their cables are pulled.
    pub(crate) hosts: Hosts,
}

/// The namespaces of hosts, by their names.
#[derive(Clone)]
pub(crate) struct Hosts(Vec<(&'static str, String)>);

impl Network {
    /// Hosts by their names, or why there are none.
    pub(crate) fn lay(names: &[&'static str]) -> Result<Self, String> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let space = |name: &str| format!("tidegate-{}-{number}-{name}", process::id());
        let mut network = Self { bridge: space("bridge"), hosts: Hosts(Vec::new()) };
        let bridge = network.bridge.clone();
        ip(&["netns", "add", &bridge])?;
        ip(&["-n", &bridge, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "bridge", "up"])?;
        for name in names {
            let host = space(name);
            ip(&["netns", "add", &host])?;
            network.hosts.0.push((name, host.clone()));
            ip(&["-n", &bridge, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &host])?;
            ip(&["-n", &bridge, "link", "set", name, "master", "bridge", "up"])?;
            ip(&["-n", &host, "address", "add", &format!("{}/24", network.address(name)), "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
        }
        Ok(network)
    }

    /// The address of a host.
    pub(crate) fn address(&self, name: &str) -> Ipv4Addr {
        let place = self.hosts.0.iter().position(|(host, _)| *host == name).unwrap();
        // Of the block for benchmarks between networks, RFC 2544.
        Ipv4Addr::new(198, 18, 0, u8::try_from(place + 1).unwrap())
    }

    /// What `run` opens and starts is on this host.
    pub(crate) fn on<T: Send>(&self, name: &str, run: impl FnOnce() -> T + Send) -> T {
        self.hosts.on(name, run)
    }

    /// Pulls the cable of a host: what it sends and is sent is lost, and nobody is informed.
    pub(crate) fn cut_off(&self, name: &str) {
        ip(&["-n", &self.bridge, "link", "set", name, "down"]).unwrap();
    }

    /// Puts the cable back.
    pub(crate) fn connect(&self, name: &str) {
        ip(&["-n", &self.bridge, "link", "set", name, "up"]).unwrap();
    }
}

impl Hosts {
    /// What `run` opens and starts is on this host.
    pub(crate) fn on<T: Send>(&self, name: &str, run: impl FnOnce() -> T + Send) -> T {
        let (_, space) = self.0.iter().find(|(host, _)| *host == name).unwrap();
        thread::scope(|scope| {
            let moved = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{space}")).unwrap();
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                run()
            });
            moved.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure))
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (_, space) in &self.hosts.0 {
            let _gone = ip(&["netns", "delete", space]);
        }
        let _gone = ip(&["netns", "delete", &self.bridge]);
    }
}

/// How many networks this process has laid.
static NETWORKS: AtomicU64 = AtomicU64::new(0);

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("ip does not run: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {}", args.join(" "), error.trim())) }
}

/// A relay on a host, in front of a server on its loopback address, which can be slow in both directions: not every kernel can delay
/// packets by itself (netem).
pub(crate) struct Relay(Arc<AtomicU64>);

impl Relay {
    /// It serves until the process ends. Call it on its host.
    pub(crate) fn start(address: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let delay = Arc::clone(&delay_ms);
        // A thread starts in the namespace of the one that starts it.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is down closes.
                let Ok(server) = TcpStream::connect(to) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let _no_delay = to.set_nodelay(true);
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    pass_on(from, to, &delay);
                }
            }
        });
        Self(delay_ms)
    }

    /// Everything takes half of this, there and back.
    pub(crate) fn set_round_trip(&self, round_trip: Duration) {
        self.0.store(u64::try_from(round_trip.as_millis()).unwrap() / 2, Ordering::Relaxed);
    }
}

/// Passes on what comes, each part as late as the delay says.
fn pass_on(mut from: TcpStream, mut to: TcpStream, delay_ms: &Arc<AtomicU64>) {
    let (clock, delay_ms) = (Stopwatch::start(), Arc::clone(delay_ms));
    let (sender, receiver): (_, Receiver<(Duration, Vec<u8>)>) = sync_channel(1024);
    thread::spawn(move || {
        let mut part = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut part) {
            let due = clock.elapsed() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            if sender.send((due, part[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, part) in receiver {
            thread::sleep(due.saturating_sub(clock.elapsed()));
            if to.write_all(&part).is_err() {
                break;
            }
        }
        let _closed = to.shutdown(std::net::Shutdown::Both);
    });
}
