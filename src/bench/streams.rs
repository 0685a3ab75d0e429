//! The checks in flight on one connection, found by the number of their stream without hashing.

/// A check in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// 0 if the place is free.
    id: u32,
    /// The instant from which its latency counts.
    pub(super) due_ns: u64,
    /// Whether the first headers of the answer have been received.
    pub(super) opened: bool,
    /// The code of a complete message, once it has been received.
    pub(super) code: Option<u64>,
    /// The beginning of an incomplete message.
    pub(super) body: Vec<u8>,
}

/// Open streams, in places computed from their numbers.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// A power of two, at least twice as many as may be open.
    places: Vec<Stream>,
    open: usize,
    next_id: u32,
}

impl Streams {
    /// Places for `capacity` open streams; the first one has the number `first_id`, which is odd.
    pub(super) fn new(capacity: usize, first_id: u32) -> Self {
        let places = vec![Stream::default(); capacity.max(1).saturating_mul(2).next_power_of_two()];
        Self { places, open: 0, next_id: first_id }
    }

    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    /// Whether all stream numbers are used up: 2^31 - 1 is the last one.
    pub(super) fn used_up(&self) -> bool {
        self.next_id > LAST_ID
    }

    /// Opens the next stream. A number whose place is still in use by an old stream is skipped, which HTTP/2 allows. `None` if
    /// no number is left, or all places are in use.
    pub(super) fn open(&mut self, due_ns: u64) -> Option<u32> {
        for _ in 0..self.places.len() {
            let id = Some(self.next_id).filter(|id| *id <= LAST_ID)?;
            self.next_id += 2;
            let at = self.place(id);
            let Some(place) = self.places.get_mut(at).filter(|place| place.id == 0) else { continue };
            place.id = id;
            place.due_ns = due_ns;
            self.open += 1;
            return Some(id);
        }
        None
    }

    /// The open stream of that number.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.place(id);
        self.places.get_mut(at).filter(|place| place.id == id && id != 0)
    }

    /// Whether a stream of that number was ever opened, or skipped.
    pub(super) fn was_opened(&self, id: u32) -> bool {
        id % 2 == 1 && id < self.next_id
    }

    /// Closes the stream of that number. Returns the instant from which its latency counts.
    pub(super) fn close(&mut self, id: u32) -> Option<u64> {
        let stream = self.get_mut(id)?;
        let due_ns = stream.due_ns;
        // The memory of the body is reused by the next one.
        stream.body.clear();
        (stream.id, stream.opened, stream.code) = (0, false, None);
        self.open -= 1;
        Some(due_ns)
    }

    /// Closes all streams above that number. Returns the instants from which their latencies count.
    pub(super) fn close_above(&mut self, last: u32) -> Vec<u64> {
        let ids: Vec<u32> = self.places.iter().map(|place| place.id).filter(|id| *id > last).collect();
        ids.into_iter().filter_map(|id| self.close(id)).collect()
    }

    fn place(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.places.len() - 1)
    }
}

const LAST_ID: u32 = 0x7fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_stays_open_is_stepped_over() {
        let mut streams = Streams::new(2, 1);
        assert_eq!(streams.open(10), Some(1));
        for round in 0..10 {
            let id = streams.open(round).unwrap();
            assert!(id > 1 && id % 2 == 1 && streams.was_opened(id) && !streams.was_opened(id + 2));
            assert_eq!(streams.get_mut(id).unwrap().due_ns, round);
            assert_eq!((streams.close(id), streams.close(id)), (Some(round), None));
        }
        assert_eq!((streams.open_count(), streams.close_above(0)), (1, vec![10]));
        assert_eq!((streams.get_mut(0).is_none(), streams.close(0)), (true, None), "no stream is number 0");
    }

    #[test]
    fn numbers_come_to_an_end() {
        let mut streams = Streams::new(4, LAST_ID - 2);
        assert_eq!((streams.open(0), streams.used_up()), (Some(LAST_ID - 2), false));
        assert_eq!((streams.open(0), streams.used_up()), (Some(LAST_ID), true));
        assert_eq!(streams.open(0), None);
        assert_eq!(streams.close_above(LAST_ID - 2).len(), 1);
    }
}
