//! One connection to one node. It is made once, and never by itself again: its owner makes another one.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::error::LinkError;
use crate::net::{ClientFiles, TlsDialer, Words};

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeAddress {
    /// `HOST:PORT`.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Who connects, to which database, and how.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user; none: the default user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database.
    pub database: i64,
    /// TLS; none: plain text.
    pub tls: Option<Tls>,
}

/// What connections with TLS are made with. Equal only to its clones.
#[derive(Clone, Debug)]
pub struct Tls(Arc<TlsDialer>);

impl Tls {
    /// Reads these files. A node's certificate has to be for the host by which the node is known.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(crate) fn new(files: ClientFiles<'_>) -> Result<Self, String> {
        let words = Words { ca: "--store-ca", cert: "--store-cert", plain: "redis://" };
        TlsDialer::new(files, words).map(|dialer| Self(Arc::new(dialer)))
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

/// A connection, closed when dropped.
#[derive(Debug)]
pub struct Connection {
    multiplexed: MultiplexedConnection,
    driver: AbortHandle,
    under_way: Arc<Semaphore>,
}

impl Connection {
    /// Connects and logs in, within `within`. Needs a tokio runtime, on which the connection is driven.
    ///
    /// # Errors
    /// There is no such node, or it does not let this login in.
    pub async fn open(address: &NodeAddress, login: &Login, within: Duration) -> Result<Self, LinkError> {
        let opening = async {
            match address {
                NodeAddress::Tcp(address) => {
                    let stream = TcpStream::connect(address).await.map_err(|error| unreachable(&error))?;
                    stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
                    match &login.tls {
                        None => Self::over(stream, login).await,
                        Some(Tls(dialer)) => {
                            let stream = dialer.connect(stream, address).await.map_err(|error| unreachable(&error))?;
                            Self::over(stream, login).await
                        }
                    }
                }
                NodeAddress::Unix(path) => {
                    Self::over(UnixStream::connect(path).await.map_err(|error| unreachable(&error))?, login).await
                }
            }
        };
        timeout(within, opening).await.unwrap_or(Err(LinkError::Timeout))
    }

    /// Logs in over a stream that is open.
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        login: &Login,
    ) -> Result<Self, LinkError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let (multiplexed, driver) = MultiplexedConnection::new_with_config(&login.info(), stream, config).await?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Self { multiplexed, driver, under_way: Arc::new(Semaphore::new(MAX_UNDER_WAY)) })
    }

    /// Whether the peer has closed it, or it failed.
    pub fn has_ended(&self) -> bool {
        self.driver.is_finished()
    }

    /// Sends a command and waits for its reply, for at most `within`.
    ///
    /// The reply is read in any case. One that comes after a timeout is given to `late`; until then the request counts as under way.
    ///
    /// # Errors
    /// See [`LinkError`]. The request is sent at most once.
    pub async fn request(
        &self,
        command: Cmd,
        within: Duration,
        late: impl FnOnce(Result<Value, LinkError>) + Send + 'static,
    ) -> Result<Value, LinkError> {
        let mut multiplexed = self.multiplexed.clone();
        let sending = async move { reply_of(multiplexed.send_packed_command(&command).await) };
        self.send(sending, within, late).await
    }

    /// The same for a command whose late reply does not matter.
    ///
    /// # Errors
    /// As for [`request`](Self::request).
    pub async fn ask(&self, command: Cmd, within: Duration) -> Result<Value, LinkError> {
        self.request(command, within, drop).await
    }

    /// The same as [`request`](Self::request) for several commands, which are one request. An error of one command is its reply.
    ///
    /// # Errors
    /// As for [`request`](Self::request).
    pub async fn pipeline(
        &self,
        pipeline: redis::Pipeline,
        within: Duration,
        late: impl FnOnce(Result<Vec<Value>, LinkError>) + Send + 'static,
    ) -> Result<Vec<Value>, LinkError> {
        let mut multiplexed = self.multiplexed.clone();
        let sending = async move {
            let count = pipeline.len();
            multiplexed.send_packed_commands(&pipeline, 0, count).await.map_err(LinkError::from)
        };
        self.send(sending, within, late).await
    }

    /// Sends a request in a task of its own, so that its reply is read in any case.
    async fn send<T: Send + 'static>(
        &self,
        sending: impl Future<Output = Result<T, LinkError>> + Send + 'static,
        within: Duration,
        late: impl FnOnce(Result<T, LinkError>) + Send + 'static,
    ) -> Result<T, LinkError> {
        let Ok(permit) = Arc::clone(&self.under_way).try_acquire_owned() else { return Err(LinkError::Busy) };
        let mut reply = tokio::spawn(async move {
            let _permit = permit;
            sending.await
        });
        if let Ok(joined) = timeout(within, &mut reply).await {
            return joined.unwrap_or(Err(LinkError::Lost));
        }
        tokio::spawn(async move { late(reply.await.unwrap_or(Err(LinkError::Lost))) });
        Err(LinkError::Timeout)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Login {
    /// The same way to connect, without a user.
    pub(super) fn anonymous(&self) -> Self {
        Self { tls: self.tls.clone(), ..Self::default() }
    }

    fn info(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default().set_db(self.database).set_skip_set_lib_name();
        if let Some(user) = &self.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.password {
            info = info.set_password(password);
        }
        info
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("database", &self.database).finish_non_exhaustive()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

fn unreachable(error: &io::Error) -> LinkError {
    LinkError::Unreachable(error.to_string())
}

fn reply_of(reply: Result<Value, redis::RedisError>) -> Result<Value, LinkError> {
    match reply? {
        Value::ServerError(error) => Err(LinkError::rejected(&error)),
        value => Ok(value),
    }
}

/// Requests of one connection that have no reply yet: while one is executed, the next one is on its way.
const MAX_UNDER_WAY: usize = 2;
