//! Why connections are closed, for the metric.

/// Why the server has closed a connection, or not accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It was idle, and another client needed its slot.
    Idle,
    /// Its client has as many connections as one client may have (`--max-connections-per-client`).
    PerClient,
    /// It sent frames that cost work and ask for nothing.
    Flood,
    /// It did not read what it was sent.
    SlowReader,
    /// It left so many answers unread that the port had no more memory for them.
    Unread,
    /// It held the most of the memory for incomplete requests, which others needed.
    Incomplete,
}

impl Closed {
    /// All of them, each at its own index.
    pub(super) const ALL: [Self; 6] =
        [Self::Idle, Self::PerClient, Self::Flood, Self::SlowReader, Self::Unread, Self::Incomplete];

    /// The value of the label `reason`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::PerClient => "per_client",
            Self::Flood => "flood",
            Self::SlowReader => "slow_reader",
            Self::Unread => "unread",
            Self::Incomplete => "incomplete",
        }
    }
}
