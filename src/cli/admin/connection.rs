//! The connection of a command to the admin port: its flags, one call, and what the command ends with.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use prost::Message;
use tonic::codegen::InterceptedService;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::api::proto::tidegate::v1::admin_service_client::AdminServiceClient;
use crate::api::proto::tidegate::v1::usage_service_client::UsageServiceClient;
use crate::api::protojson;
use crate::cli::dial::TlsFlags;
use crate::cli::target::{self, Port, Target};
use crate::cli::{complain, print};
use crate::runtime::clock::Clock;
use crate::sanitize::{sanitize_json, sanitize_lines};
use crate::settings::{Secret, duration};
use crate::units::Timestamp;

/// The server to ask, and how to print its answer.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Address of the admin port: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    #[arg(long, env = "TIDEGATE_ADMIN_URL", value_name = "URL", default_value = "http://127.0.0.1:8082", value_parser = target::parse)]
    admin_addr: Target,

    /// File with the token to send (`authorization: Bearer`); white space around it is removed
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,

    /// Time limit for an answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Print the complete answer as protojson
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    tls: TlsFlags,
}

/// The client, which sends the token.
pub(super) type Client = AdminServiceClient<Service>;

/// The client of the usage service, which sends the token too.
pub(super) type UsageClient = UsageServiceClient<Service>;

/// A connection that sends the token, for clients of any service.
pub(super) type Service = InterceptedService<Channel, Bearer>;

/// Why a command ends without its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server answered with an error: exit status 1.
    Status(String),
    /// There is no connection, no answer, or an argument that cannot be used: exit status 2.
    NoAnswer(String),
}

/// What a command prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Printed {
    /// The answer, for standard output; empty: nothing.
    pub text: String,
    /// For standard error, one warning a line; empty: nothing.
    pub warning: String,
}

/// How a command ends.
pub(super) type Outcome = Result<Printed, Failure>;

impl From<String> for Printed {
    fn from(text: String) -> Self {
        Self { text, warning: String::new() }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Session<'c> {
    connection: &'c Connection,
    client: Client,
    usage: UsageClient,
}

impl Connection {
    /// Makes one call and prints its answer: as protojson with `--json`, otherwise as `render` writes it. `message` is the name
    /// of the answer's type.
    pub(super) fn answer<R: Message>(
        &self,
        message: &str,
        call: impl AsyncFnOnce(&mut Client) -> Result<Response<R>, Status>,
        render: impl FnOnce(&R, Timestamp) -> String,
    ) -> Outcome {
        let answer = self.run(async |mut session| session.ask(call).await)?;
        self.print(message, &answer, render).map(Into::into)
    }

    /// The same for a call that changes something, whose answer may have a warning.
    pub(super) fn change<R: Message>(
        &self,
        message: &str,
        call: impl AsyncFnOnce(&mut Client) -> Result<Response<R>, Status>,
        render: impl FnOnce(&R, Timestamp) -> String,
        warning: impl FnOnce(&R) -> &String,
    ) -> Outcome {
        let answer = self.run(async |mut session| session.ask(call).await)?;
        Ok(Printed { text: self.print(message, &answer, render)?, warning: warning(&answer).clone() })
    }

    /// The text of an answer.
    pub(super) fn print<R: Message>(
        &self,
        message: &str,
        answer: &R,
        render: impl FnOnce(&R, Timestamp) -> String,
    ) -> Result<String, Failure> {
        if self.json { json(message, answer) } else { Ok(render(answer, Clock::start().now())) }
    }

    /// Connects, and does all the calls of a command.
    pub(super) fn run<T>(&self, work: impl AsyncFnOnce(Session<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        block_on(async {
            let service = self.open().await?;
            let (client, usage) = (admin_client(service.clone()), usage_client(service));
            work(Session { connection: self, client, usage }).await
        })
    }

    /// Connects to the usage service.
    ///
    /// # Errors
    /// The token cannot be read, or there is no connection in time.
    pub(super) async fn usage(&self) -> Result<UsageClient, Failure> {
        self.open().await.map(usage_client)
    }

    /// Waits for the answer to one call.
    ///
    /// # Errors
    /// The status of the server, a lost connection, or no answer in time.
    pub(super) async fn call<R>(&self, call: impl Future<Output = Result<R, Status>>) -> Result<R, Failure> {
        self.in_time(async { call.await.map_err(|status| self.failure(&status)) }).await
    }

    /// Connects, for streams and for calls over a long time. The connection is made again when it is lost.
    pub(super) async fn open(&self) -> Result<Service, Failure> {
        let bearer = self.bearer()?;
        let channel = self.in_time(self.connect()).await?;
        Ok(InterceptedService::new(channel, bearer))
    }

    /// The address of the server, as messages name it.
    pub(super) fn address(&self) -> String {
        self.admin_addr.to_string()
    }

    async fn connect(&self) -> Result<Channel, Failure> {
        let prepare = |endpoint: Endpoint| {
            // A stream may have nothing to say for hours; a server that has disappeared does not answer pings.
            let endpoint = endpoint.http2_keep_alive_interval(PING_INTERVAL).keep_alive_timeout(self.timeout);
            endpoint.http2_max_header_list_size(MAX_HEADER_BYTES)
        };
        self.tls.connect(Port::ADMIN, &self.admin_addr, prepare).await.map_err(Failure::NoAnswer)
    }

    fn bearer(&self) -> Result<Bearer, Failure> {
        let Some(path) = &self.token_file else { return Ok(Bearer(None)) };
        let failure = |what: &str| Failure::NoAnswer(format!("--token-file {}: {what}", path.display()));
        let token = Secret::in_file(path).map_err(|error| failure(&error.to_string()))?;
        if token.is_empty() {
            return Err(failure("is empty"));
        }
        // The error would quote nothing, but a token is not to be near any message.
        let header = MetadataValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| failure("is not one line of ASCII text"))?;
        header.set_sensitive(true);
        Ok(Bearer(Some(header)))
    }

    /// Waits for what the server has to do within `--timeout`.
    ///
    /// # Errors
    /// That of `work`, or that it is not done in time.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let (addr, timeout) = (&self.admin_addr, humantime::format_duration(self.timeout));
            Err(Failure::NoAnswer(format!("{addr}: no answer within {timeout}{}", Port::ADMIN.silent())))
        })
    }

    /// Why there is no answer: an error of the connection has a source, a status from the server has none.
    pub(super) fn failure(&self, status: &Status) -> Failure {
        let addr = &self.admin_addr;
        match (status.code(), status.source()) {
            (_, Some(error)) => Failure::NoAnswer(Port::ADMIN.describe(addr, "connection lost", error)),
            (Code::Unimplemented, None) => {
                let what = "is not the admin port of a Tidegate of this version; does --admin-addr name it?";
                Failure::NoAnswer(format!("{addr}: {what}"))
            }
            (code, None) if status.message().is_empty() => Failure::Status(format!("{code:?}")),
            (_, None) => Failure::Status(status.message().to_owned()),
        }
    }
}

impl Session<'_> {
    /// Makes one call.
    ///
    /// # Errors
    /// The status of the server, a lost connection, or no answer in time.
    pub(super) async fn ask<R>(
        &mut self,
        call: impl AsyncFnOnce(&mut Client) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        self.connection.call(call(&mut self.client)).await.map(Response::into_inner)
    }

    /// Makes one call of the usage service.
    ///
    /// # Errors
    /// As those of [`ask`](Self::ask).
    pub(super) async fn ask_usage<R>(
        &mut self,
        call: impl AsyncFnOnce(&mut UsageClient) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        self.connection.call(call(&mut self.usage)).await.map(Response::into_inner)
    }

    /// Why a stream has ended.
    pub(super) fn failure(&self, status: &Status) -> Failure {
        self.connection.failure(status)
    }
}

/// A client of the admin service on a connection.
pub(super) fn admin_client(service: Service) -> Client {
    Client::new(service).max_decoding_message_size(MAX_ANSWER_BYTES)
}

/// A client of the usage service on a connection.
pub(super) fn usage_client(service: Service) -> UsageClient {
    UsageClient::new(service).max_decoding_message_size(MAX_ANSWER_BYTES)
}

/// Makes `asked` ask for the next page; false: there is none.
///
/// # Errors
/// The server does not get ahead.
pub(super) fn next_page(asked: &mut String, token: String) -> Result<bool, Failure> {
    if !token.is_empty() && token == *asked {
        return Err(Failure::NoAnswer("the server returned the same page twice".to_owned()));
    }
    *asked = token;
    Ok(!asked.is_empty())
}

/// Does the calls of a command on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::NoAnswer(error.to_string()))?.block_on(work)
}

/// A message as complete protojson in one line; `message` is the name of its type.
pub(super) fn json<R: Message>(message: &str, answer: &R) -> Result<String, Failure> {
    let name = format!("tidegate.v1.{message}");
    let json = protojson::to_complete_json(&name, &answer.encode_to_vec()).map_err(Failure::NoAnswer)?;
    Ok(sanitize_json(&json))
}

/// Prints what a command ends with, and returns its exit status.
pub(super) fn finish(outcome: Outcome) -> ExitCode {
    let (code, error) = match outcome {
        Ok(Printed { text, warning }) => {
            if !text.is_empty() {
                print(&text);
            }
            warning.lines().for_each(|line| complain(&format!("warning: {}", sanitize_lines(line))));
            return ExitCode::SUCCESS;
        }
        Err(Failure::Status(error)) => (ExitCode::from(ERROR_OF_SERVER), error),
        Err(Failure::NoAnswer(error)) => (ExitCode::from(NO_ANSWER), error),
    };
    complain(&format!("error: {}", sanitize_lines(&error)));
    code
}

/// Adds the token to each call.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

const ERROR_OF_SERVER: u8 = 1;
const NO_ANSWER: u8 = 2;
/// 10,000 settings with the longest entries and reasons are smaller.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The errors of a configuration are in the message of a status, which is a header.
const MAX_HEADER_BYTES: u32 = 256 << 10;
/// So long a stream may be silent before the server is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
