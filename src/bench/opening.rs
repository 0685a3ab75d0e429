//! Opens connections: the socket, the HTTP/2 preface, and one check to probe the server's rules.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::plan::Plan;
use super::schedule::{Pace, Schedule};
use super::session::Session;
use super::socket::{CONNECT_TIMEOUT, Reader, Writer, connect};
use super::stats::Stats;
use super::template::Template;
use super::traffic::{Picks, Traffic};

/// Why a run cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The connection failed.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The server uses another protocol.
    #[error("not a gRPC server (HTTP/2): {0}")]
    Protocol(String),
    /// The runtime or the distribution of keys could not be created.
    #[error("{0}")]
    Setup(String),
}

/// A connection on which the server has sent its preface.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// Received bytes of an incomplete frame.
    pub(super) buffer: Vec<u8>,
}

/// Opens a connection, and waits for the server's preface.
pub(super) async fn open(plan: &Plan) -> Result<Opened, StartError> {
    let (reader, writer) = connect(plan).await.map_err(StartError::Connect)?;
    let mut opened = Opened { session: Session::new(plan.streams), reader, writer, buffer: Vec::new() };
    let greeting = async {
        while !opened.session.greeted() {
            opened.exchange(&mut Stats::new(u64::MAX, 0)).await?;
        }
        Ok(())
    };
    match timeout(CONNECT_TIMEOUT, greeting).await {
        Ok(greeted) => greeted.map(|()| opened),
        Err(_) => Err(StartError::Protocol("the server sends nothing".to_owned())),
    }
}

/// Sends one check for the limit of 0. Returns whether it was denied, or `None` if it was not answered.
///
/// # Errors
/// The connection fails, or the server does not use HTTP/2.
pub(super) async fn probe(plan: &Plan) -> Result<Option<bool>, StartError> {
    let traffic = Traffic { over_limit: 1.0, ..plan.traffic.clone() };
    let mut opened = open(&Plan { streams: 1, ..plan.clone() }).await?;
    let mut schedule = Schedule::new(Pace::Closed, 0, 1, 1, plan.seed);
    let mut picks = Picks::new(&traffic, plan.seed).map_err(StartError::Setup)?;
    let mut template = Template::new(&traffic, &plan.authority(), plan.tls.is_some());
    opened.session.fill(0, &mut schedule, &mut template, &mut picks);
    // No further check is due.
    schedule.end_at(0);
    let mut stats = Stats::new(0, u64::MAX);
    let asking = async {
        while opened.session.under_way() > 0 {
            opened.exchange(&mut stats).await.ok()?;
        }
        Some(())
    };
    let answered = timeout(CONNECT_TIMEOUT, asking).await.is_ok_and(|asked| asked.is_some()) && stats.errors() == 0;
    Ok(Some(stats.over_limit > 0).filter(|_| answered))
}

impl Opened {
    /// Sends pending bytes, and processes received ones.
    async fn exchange(&mut self, stats: &mut Stats) -> Result<(), StartError> {
        while !self.session.pending().is_empty() {
            match self.writer.try_write(self.session.pending()) {
                Ok(sent) => self.session.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writer.writable().await.map_err(StartError::Connect)?;
                }
                Err(error) => return Err(StartError::Connect(error)),
            }
        }
        if self.reader.read_buf(&mut self.buffer).await.map_err(StartError::Connect)? == 0 {
            return Err(StartError::Protocol("the server closed the connection".to_owned()));
        }
        let taken = self.session.receive(&self.buffer, 0, stats);
        let taken = taken.map_err(|violation| StartError::Protocol(violation.to_owned()))?;
        self.buffer.drain(..taken);
        Ok(())
    }
}
