//! Hand-over: a new process on the same host and data directory takes the place of the one that runs.
//!
//! ```text
//! old  serves ------------- passes its sockets ------------ accepts no more, answers what it has, writes its state, releases the lock
//! new  configuration is fine --asks--> ports are fine --takes--> connections wait in the sockets' queues  --lock--> restores, serves
//! ```
//!
//! Until the new process has said that it takes them, the old one goes on: what can fail before that, disturbs nobody.
//!
//! The sockets are the same ones, so no connection is lost or reset: SO_REUSEPORT alone would reset those in the queue of the
//! socket that is closed. What waits is answered by the new process, from the counts of the old one.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;

use super::inherited::{Inherited, Port};
use crate::history::{DataDir, DataDirError};
use crate::net::{Socket, pass, receive};
use crate::runtime::clock::Stopwatch;
use crate::runtime::lifecycle::{Phase, Phases};

/// What a running process offers to its successor.
#[derive(Debug)]
pub(super) struct Offer {
    taken: watch::Receiver<bool>,
}

/// Why this process cannot take the place of another one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandOverError {
    /// The other one does not stop, and nothing says that it should.
    #[error(
        "cannot use --data-dir {0}: another tidegate process is using it; give each process its own directory, or take the place of \
         that one with --hand-over"
    )]
    Taken(PathBuf),
    /// The other one does not answer, or in another way.
    #[error("cannot take the place of the process that uses --data-dir {path}: {error}")]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// It has passed its sockets, but goes on using the directory.
    #[error("the process that uses --data-dir {0} has passed its sockets but has not ended in time; see its log")]
    Late(PathBuf),
}

impl Offer {
    /// Listens for a successor in the data directory, on the current runtime. The sockets are passed once.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub(super) fn start(
        dir: &Path,
        sockets: Vec<(Port, Socket)>,
        deadline: Duration,
        phases: Phases,
    ) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        // The directory is locked, so nobody else listens.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let (sender, taken) = watch::channel(false);
        tokio::spawn(async move {
            let mut stopping = phases.clone();
            tokio::select! {
                () = serve(listener, &sockets, deadline, phases) => {
                    let _gone = sender.send(true);
                }
                // The sockets close with those that are served.
                () = stopping.stopping() => {}
            }
        });
        Ok(Self { taken })
    }

    /// Whether a successor has the sockets.
    pub(super) fn is_taken(&self) -> bool {
        *self.taken.borrow()
    }

    /// Waits until a successor has the sockets. Cancel safe.
    pub(super) async fn taken(&mut self) {
        if self.taken.wait_for(|taken| *taken).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Answers processes that ask, until one has the sockets.
async fn serve(listener: UnixListener, sockets: &[(Port, Socket)], deadline: Duration, phases: Phases) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "hand-over: cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // The directory may be open to others; the sockets are for the same user.
        let is_ours = stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
        let Ok(stream) = stream.into_std() else { continue };
        let answered = tokio::task::block_in_place(|| answer(&stream, is_ours, sockets, deadline, phases.now()));
        match answered {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "hand-over: the other process is gone, this one goes on"),
        }
    }
}

/// Reads what is asked, and passes the sockets if they are wanted. Returns whether they were.
fn answer(
    mut stream: &UnixStream,
    is_ours: bool,
    sockets: &[(Port, Socket)],
    deadline: Duration,
    phase: Phase,
) -> io::Result<bool> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let mut asked = [0; 1];
    stream.read_exact(&mut asked)?;
    let is_stopping = phase >= Phase::Draining;
    if !is_ours || (asked != [NOW] && !is_stopping) {
        stream.write_all(BUSY.as_bytes())?;
        return Ok(false);
    }
    let names: Vec<_> = sockets.iter().map(|(port, _)| port.name()).collect();
    let passed: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    pass(stream, &format!("{} {}", deadline.as_millis(), names.join(" ")), &passed)?;
    // It has copies, and serves none of them before it has the lock: this process can still go on.
    stream.set_read_timeout(Some(TAKING))?;
    stream.read_exact(&mut asked)?;
    Ok(true)
}

/// Locks the data directory; if another process has it and hands over, with the sockets of that one. `is_wanted`: it is asked to stop, if
/// it does not do so already. `is_ready` and `fits` check all that could fail later, before the other one is asked, and before its sockets are
/// taken.
///
/// # Errors
/// The directory cannot be used, or the other process does not hand over.
pub(super) fn lock<E: From<DataDirError> + From<HandOverError>>(
    path: &Path,
    is_wanted: bool,
    is_ready: impl FnOnce() -> Result<(), E>,
    fits: impl FnOnce(&Inherited) -> Result<(), E>,
) -> Result<(DataDir, Inherited), E> {
    match open(path) {
        Err(DataDirError::Taken(_)) => {}
        other => return Ok((other?, Inherited::default())),
    }
    is_ready()?;
    let failed = |error| HandOverError::Failed { path: path.to_owned(), error };
    let (inherited, deadline) = match ask(path, is_wanted) {
        Ok(Asked::Passed(passed)) => {
            fits(&passed.sockets)?;
            let (inherited, deadline) = passed.take();
            tracing::info!("hand-over: the sockets are here; waiting for the state of the other process");
            (inherited, deadline)
        }
        Ok(Asked::Busy) => return Err(HandOverError::Taken(path.to_owned()).into()),
        // Its drain is over, so it has closed its sockets and is about to end; or it has just ended.
        Err(error) if is_gone(&error) => (Inherited::default(), ABOUT_TO_END),
        Err(error) if !is_wanted || error.kind() == io::ErrorKind::NotFound => {
            return Err(HandOverError::Taken(path.to_owned()).into());
        }
        Err(error) => return Err(failed(error).into()),
    };
    let longest = as_millis(deadline.saturating_add(MARGIN));
    let stopwatch = Stopwatch::start();
    loop {
        match open(path) {
            Err(DataDirError::Taken(_)) if stopwatch.elapsed().as_millis_ceil() < longest => std::thread::sleep(POLL),
            Err(DataDirError::Taken(_)) => return Err(HandOverError::Late(path.to_owned()).into()),
            other => {
                let waited = humantime::format_duration(Duration::from_millis(stopwatch.elapsed().as_millis_ceil()));
                tracing::info!(%waited, "hand-over: the other process has written its state");
                return Ok((other?, inherited));
            }
        }
    }
}

/// Locks the directory, and removes what a process that crashed has left: nobody listens there until this one does.
fn open(path: &Path) -> Result<DataDir, DataDirError> {
    let data_dir = DataDir::open(path)?;
    // Otherwise a process that is started before this one listens would take it for one that ends.
    let _none = fs::remove_file(path.join(SOCKET));
    Ok(data_dir)
}

/// What the process that uses the directory answers.
enum Asked {
    /// Its sockets.
    Passed(Passed),
    /// It goes on.
    Busy,
}

/// The sockets of a process that serves them until they are taken.
struct Passed {
    sockets: Inherited,
    /// The time that it may take to end.
    deadline: Duration,
    stream: UnixStream,
}

impl Passed {
    fn take(mut self) -> (Inherited, Duration) {
        // If that fails, it has ended by now; or has waited for too long: then the lock stays taken.
        let is_heard = self.stream.write_all(&[TAKEN]).is_ok();
        (self.sockets, if is_heard { self.deadline } else { Duration::ZERO })
    }
}

fn ask(path: &Path, is_wanted: bool) -> io::Result<Asked> {
    let mut stream = UnixStream::connect(path.join(SOCKET))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(&[if is_wanted { NOW } else { IF_STOPPING }])?;
    let (text, sockets) = receive(&stream).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, format!("it has not answered in {ANSWER:?}"))
        }
        _ => error,
    })?;
    if text == BUSY {
        return Ok(Asked::Busy);
    }
    let (deadline, names) = text.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
    let deadline = deadline.parse().map_err(|_| io::ErrorKind::InvalidData)?;
    let (sockets, deadline) = (Inherited::passed(names, sockets)?, Duration::from_millis(deadline));
    Ok(Asked::Passed(Passed { sockets, deadline, stream }))
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof)
}

fn as_millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// In the data directory; only its owner can connect.
const SOCKET: &str = "hand-over.sock";
/// Asks for the sockets.
const NOW: u8 = b'N';
/// Asks for the sockets if the process is stopping anyway.
const IF_STOPPING: u8 = b'S';
/// Takes the sockets that were passed.
const TAKEN: u8 = b'T';
/// The answer of a process that goes on.
const BUSY: &str = "busy";
/// How long either side waits for the other.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a process that has the sockets may take to look at its ports, whose names may have to be resolved.
const TAKING: Duration = Duration::from_secs(10);
/// How long a process that has closed its sockets may take to end, if its deadline is not known.
const ABOUT_TO_END: Duration = Duration::from_secs(15);
/// What it may need beyond its deadline, to write its state.
const MARGIN: Duration = Duration::from_secs(15);
/// Between two attempts to lock the directory: what it adds to the time without a server.
const POLL: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::AppError;
    use super::*;

    fn lock_as(path: &Path, is_wanted: bool) -> Result<DataDir, AppError> {
        lock(path, is_wanted, || Ok(()), |_| Ok(())).map(|(data_dir, _)| data_dir)
    }

    /// While a process starts after a crash, it has the lock and does not listen: the socket of the one that crashed does not make it one that ends.
    #[test]
    fn a_process_that_does_not_listen_yet_is_using_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(dir.path().join(SOCKET)).unwrap());
        let held = lock_as(dir.path(), false).unwrap();
        for is_wanted in [false, true] {
            let error = lock_as(dir.path(), is_wanted).unwrap_err().to_string();
            assert!(error.contains("another tidegate process is using it"), "{error}");
        }
        drop(held);
        drop(lock_as(dir.path(), false).unwrap());
    }

    #[test]
    fn a_process_that_does_not_answer_is_named_so() {
        let dir = tempfile::tempdir().unwrap();
        let _held = lock_as(dir.path(), false).unwrap();
        let _deaf = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        for (is_wanted, expected) in
            [(false, "another tidegate process is using it"), (true, "it has not answered in 2s")]
        {
            let error = lock_as(dir.path(), is_wanted).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
