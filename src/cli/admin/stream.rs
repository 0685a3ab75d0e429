//! Streams of the usage service that go on over lost connections.

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Duration;

use tonic::{Code, Response, Status, Streaming};

use super::connection::{Connection, Failure, UsageClient};

/// What asks for a stream and reads its reports.
pub(super) trait Observer {
    /// A report.
    type Report;

    /// Asks for the stream; after the first time, for what follows the last report.
    async fn open(&mut self, client: &mut UsageClient) -> Result<Response<Streaming<Self::Report>>, Status>;

    /// Shows a report; it may be the last one that is wanted.
    fn read(&mut self, report: Self::Report) -> Result<ControlFlow<()>, Failure>;

    /// Says something about the stream, apart from what it reports.
    fn say(&mut self, sentence: &str);

    /// What to say when the stream goes on.
    fn resumed(&self) -> &'static str;
}

/// Reads the first report only.
///
/// # Errors
/// The status of the server, no connection, or no report in time.
pub(super) async fn first<O: Observer>(connection: &Connection, observer: &mut O) -> Result<(), Failure> {
    let mut client = connection.usage().await?;
    let mut stream = connection.call(observer.open(&mut client)).await?.into_inner();
    let report = connection.call(stream.message()).await?;
    let report = report.ok_or_else(|| Failure::NoAnswer("the server ended the stream without a report".to_owned()))?;
    observer.read(report).map(|_| ())
}

/// Reads reports until the observer has enough. A connection that is lost is made again, as often as it takes.
///
/// # Errors
/// There is no first connection, or the server rejects the request, now or later.
pub(super) async fn follow<O: Observer>(connection: &Connection, observer: &mut O) -> Result<(), Failure> {
    let mut stream = match open(connection, observer).await? {
        Ok(stream) => stream,
        Err(status) => return Err(connection.failure(&status)),
    };
    loop {
        let lost = match stream.message().await {
            Ok(Some(report)) => match observer.read(report)? {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(()) => return Ok(()),
            },
            Ok(None) => "the server ended the stream".to_owned(),
            Err(status) if !is_of_connection(&status) => return Err(connection.failure(&status)),
            Err(status) if status.source().is_some() => "the connection is lost".to_owned(),
            Err(status) => format!("the server ended the stream: {}", status.message()),
        };
        observer.say(&format!("{lost}; connecting again"));
        stream = reopen(connection, observer).await?;
        let resumed = observer.resumed();
        observer.say(resumed);
    }
}

/// Connects and asks, until there is a stream. Each new reason why there is none is said once.
async fn reopen<O: Observer>(connection: &Connection, observer: &mut O) -> Result<Streaming<O::Report>, Failure> {
    let (mut pause, mut said) = (FIRST_PAUSE, String::new());
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let why = match open(connection, observer).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(status)) if is_of_connection(&status) || status.code() == Code::ResourceExhausted => {
                reason(connection.failure(&status))
            }
            Ok(Err(status)) => return Err(connection.failure(&status)),
            Err(failure) => reason(failure),
        };
        if why != said {
            observer.say(&why);
            said = why;
        }
    }
}

/// The stream, or the server's status in place of it.
async fn open<O: Observer>(
    connection: &Connection,
    observer: &mut O,
) -> Result<Result<Streaming<O::Report>, Status>, Failure> {
    let mut client = connection.usage().await?;
    connection.in_time(async { Ok(observer.open(&mut client).await.map(Response::into_inner)) }).await
}

/// Whether the request is good, and only the connection or the server is gone.
fn is_of_connection(status: &Status) -> bool {
    status.source().is_some() || status.code() == Code::Unavailable
}

fn reason(failure: Failure) -> String {
    match failure {
        Failure::Status(reason) | Failure::NoAnswer(reason) => reason,
    }
}

/// Short, for a server that is restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Often enough to see a server soon after it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
