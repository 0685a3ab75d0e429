//! The settings of the peer, and what follows from them for the blocks of answers.

use super::super::frame::{
    DEFAULT_TABLE, DEFAULT_WINDOW, FLOW_CONTROL_ERROR, MAX_WINDOW, PROTOCOL_ERROR, SETTINGS_ENABLE_CONNECT_PROTOCOL,
    SETTINGS_ENABLE_PUSH, SETTINGS_HEADER_TABLE_SIZE, SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_FRAME_SIZE,
};
use super::super::hpack::{STATIC_ENTRIES, field_bytes, put_indexed, put_literal, put_table_size};
use super::{DEFAULT_MAX_FRAME, Violation, violation};

/// What the peer has announced.
#[derive(Debug)]
pub(super) struct PeerSettings {
    has_greeted: bool,
    /// The window that its streams begin with.
    pub(super) initial_window: i64,
    table: AnswerTable,
}

/// The peer's header table, in which there are never more than two headers: those that all successful answers have.
#[derive(Debug)]
struct AnswerTable {
    /// The size that the peer knows of.
    bytes: usize,
    /// The size that is wanted, and the least one since the peer heard of it.
    wanted: usize,
    least: usize,
    /// Whether `content-type` is there, and `grpc-status`.
    has_type: bool,
    has_status: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        let table = AnswerTable {
            bytes: DEFAULT_TABLE,
            wanted: DEFAULT_TABLE,
            least: DEFAULT_TABLE,
            has_type: false,
            has_status: false,
        };
        Self { has_greeted: false, initial_window: DEFAULT_WINDOW, table }
    }
}

impl PeerSettings {
    /// Whether it has announced anything.
    pub(super) fn has_greeted(&self) -> bool {
        self.has_greeted
    }

    /// Reads a frame. Returns by how much the windows of all streams change.
    pub(super) fn read(&mut self, settings: &[[u8; 6]]) -> Result<i64, Violation> {
        let before = self.initial_window;
        for [name_high, name_low, value @ ..] in settings.iter().copied() {
            let value = u32::from_be_bytes(value);
            match u16::from_be_bytes([name_high, name_low]) {
                SETTINGS_HEADER_TABLE_SIZE => self.table.allow(usize::try_from(value).unwrap_or(usize::MAX)),
                SETTINGS_ENABLE_PUSH | SETTINGS_ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err(violation(PROTOCOL_ERROR, "a setting is neither 0 nor 1"));
                }
                SETTINGS_INITIAL_WINDOW_SIZE => {
                    self.initial_window = i64::from(value);
                    if self.initial_window > MAX_WINDOW {
                        return Err(violation(FLOW_CONTROL_ERROR, "the initial window is too large"));
                    }
                }
                SETTINGS_MAX_FRAME_SIZE => {
                    // Ours are never longer than what every peer takes.
                    let size = usize::try_from(value).unwrap_or(usize::MAX);
                    if !(DEFAULT_MAX_FRAME..1 << 24).contains(&size) {
                        return Err(violation(PROTOCOL_ERROR, "the maximum size of frames is out of bounds"));
                    }
                }
                _ => {}
            }
        }
        self.has_greeted = true;
        Ok(self.initial_window - before)
    }

    /// Appends what has to precede the headers of the next block.
    pub(super) fn begin_block(&mut self, out: &mut Vec<u8>) {
        self.table.announce(out);
    }

    /// Appends the block before a successful answer.
    pub(super) fn put_headers(&mut self, out: &mut Vec<u8>) {
        let table = &mut self.table;
        table.announce(out);
        put_indexed(out, STATUS_200);
        if table.has_type {
            // The latest header is the first one in the table.
            put_indexed(out, STATIC_ENTRIES + 1 + usize::from(table.has_status));
        } else {
            table.has_type = table.has_room();
            put_literal(out, table.has_type, Some(CONTENT_TYPE), TYPE.0, TYPE.1);
        }
    }

    /// Appends the block after it.
    pub(super) fn put_trailers(&mut self, out: &mut Vec<u8>) {
        let table = &mut self.table;
        table.announce(out);
        if table.has_status {
            put_indexed(out, STATIC_ENTRIES + 1);
        } else {
            // The order in the table is always the same.
            table.has_status = table.has_type;
            put_literal(out, table.has_status, None, STATUS.0, STATUS.1);
        }
    }
}

impl AnswerTable {
    /// The peer allows so much. Less than two headers need is the same as none.
    fn allow(&mut self, bytes: usize) {
        self.wanted = if bytes < table_bytes() { 0 } else { bytes.min(DEFAULT_TABLE) };
        self.least = self.least.min(self.wanted);
    }

    fn has_room(&self) -> bool {
        self.bytes >= table_bytes()
    }

    /// Appends the changes of the size since the last block (RFC 7541, section 4.2): the least one, then the present one.
    fn announce(&mut self, out: &mut Vec<u8>) {
        if self.least < self.bytes {
            put_table_size(out, self.least);
            self.bytes = self.least;
            if !self.has_room() {
                (self.has_type, self.has_status) = (false, false);
            }
        }
        if self.wanted != self.bytes {
            put_table_size(out, self.wanted);
            self.bytes = self.wanted;
        }
        self.least = self.bytes;
    }
}

fn table_bytes() -> usize {
    [TYPE, STATUS].iter().map(|(name, value)| field_bytes(name.as_bytes(), value.as_bytes())).sum()
}

/// Entries of the static table.
const STATUS_200: usize = 8;
const CONTENT_TYPE: usize = 31;

const TYPE: (&str, &str) = ("content-type", "application/grpc");
const STATUS: (&str, &str) = ("grpc-status", "0");

#[cfg(test)]
mod tests {
    use super::super::super::hpack::{Decoder, FieldSink};
    use super::*;

    #[derive(Default)]
    struct Listed(Vec<String>);

    impl FieldSink for Listed {
        fn field(&mut self, name: &[u8], value: &[u8]) {
            self.0.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        }
    }

    /// Whatever sizes the peer announces, its decoder reads the same headers.
    #[test]
    fn blocks_follow_the_size_of_the_table() {
        let (mut peer, mut decoder) = (PeerSettings::default(), Decoder::new());
        let mut lengths = Vec::new();
        for sizes in
            [&[][..], &[], &[4_096], &[200], &[], &[103], &[], &[0, 4_096], &[], &[50, 0, 1_000], &[], &[1 << 30]]
        {
            for size in sizes {
                let [a, b, c, d] = u32::to_be_bytes(*size);
                assert_eq!(peer.read(&[[0, 1, a, b, c, d]]), Ok(0));
            }
            let (mut headers, mut trailers) = (Vec::new(), Vec::new());
            peer.put_headers(&mut headers);
            peer.put_trailers(&mut trailers);
            lengths.push(headers.len() + trailers.len());
            let mut listed = Listed::default();
            decoder.read(&headers, &mut listed).unwrap();
            decoder.read(&trailers, &mut listed).unwrap();
            assert_eq!(listed.0, [":status=200", "content-type=application/grpc", "grpc-status=0"], "{sizes:?}");
        }
        assert_eq!(lengths[1], 3, "{lengths:?}");
        assert_eq!((lengths[2], lengths[4], lengths[8]), (3, 3, 3), "{lengths:?}");
        assert!(lengths[6] > 20, "no table: {lengths:?}");
    }
}
