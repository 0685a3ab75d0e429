//! The open streams of a connection.

use std::collections::{HashMap, VecDeque};

/// The open streams, and the ones that were reset last.
#[derive(Debug)]
pub(super) struct Streams<T> {
    /// The one that was opened last: most requests arrive and are answered before the next one opens, and are never in the map.
    latest: Option<(u32, Stream<T>)>,
    others: HashMap<u32, Stream<T>, ahash::RandomState>,
    /// Streams that this side has reset; the peer may not know yet.
    reset: VecDeque<u32>,
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream<T> {
    /// Whether the request is complete.
    pub(super) is_received: bool,
    /// Whether the headers of the answer have been sent.
    pub(super) is_answered: bool,
    /// The bytes of the body that have not come, if the headers say how many there are.
    pub(super) expected: Option<u64>,
    /// The bytes that the peer may send.
    pub(super) receive_window: i64,
    /// The bytes that were received and not released.
    pub(super) held: u32,
    /// The bytes that were released since the window was renewed last.
    pub(super) unannounced: u32,
    /// The bytes that may be sent.
    pub(super) send_window: i64,
    /// An answer of which the windows have not allowed everything.
    pub(super) unsent: Option<Box<Unsent>>,
    /// What belongs to it.
    pub(super) state: T,
}

/// The end of a successful answer.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) bytes: Vec<u8>,
    /// How many of them were sent.
    pub(super) sent: usize,
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self { latest: None, others: HashMap::default(), reset: VecDeque::new() }
    }
}

impl<T: Default> Stream<T> {
    pub(super) fn new(receive_window: u32, send_window: i64, expected: Option<u64>) -> Self {
        Self {
            is_received: false,
            is_answered: false,
            expected,
            receive_window: receive_window.into(),
            held: 0,
            unannounced: 0,
            send_window,
            unsent: None,
            state: T::default(),
        }
    }
}

impl<T> Streams<T> {
    pub(super) fn len(&self) -> usize {
        self.others.len() + usize::from(self.latest.is_some())
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream<T>> {
        match &mut self.latest {
            Some((latest, stream)) if *latest == id => Some(stream),
            _ => self.others.get_mut(&id),
        }
    }

    /// Adds the latest stream.
    pub(super) fn open(&mut self, id: u32, stream: Stream<T>) {
        if let Some((before, stream)) = self.latest.replace((id, stream)) {
            self.others.insert(before, stream);
        }
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Stream<T>> {
        if self.latest.as_ref().is_some_and(|(latest, _)| *latest == id) {
            return self.latest.take().map(|(_, stream)| stream);
        }
        let removed = self.others.remove(&id);
        if self.others.is_empty() && self.others.capacity() > KEPT_STREAMS {
            self.others = HashMap::default();
        }
        removed
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream<T>)> {
        let latest = self.latest.as_mut().map(|(id, stream)| (*id, stream));
        latest.into_iter().chain(self.others.iter_mut().map(|(id, stream)| (*id, stream)))
    }

    /// Remembers for some time that this side has reset a stream.
    pub(super) fn remember_reset(&mut self, id: u32) {
        if self.reset.len() >= MAX_RESET {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }

    /// The peer has reset it, too: it knows.
    pub(super) fn forget_reset(&mut self, id: u32) {
        self.reset.retain(|reset| *reset != id);
    }

    /// Whether this side has reset it, a short time ago.
    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }
}

/// Streams that were reset, and on which the peer may still send something that is no error: as many as the `h2` crate remembers.
const MAX_RESET: usize = 50;

/// The capacity of the map that an idle connection keeps.
const KEPT_STREAMS: usize = 16;
