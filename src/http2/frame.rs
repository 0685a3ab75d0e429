//! Frames of HTTP/2 as bytes (RFC 9113, sections 4 and 6).

/// The nine bytes before each frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The length of the payload.
    pub(crate) length: usize,
    /// The type of the frame.
    pub(crate) kind: u8,
    /// Bits whose meaning depends on the kind.
    pub(crate) flags: u8,
    /// The stream, or 0 for the connection.
    pub(crate) stream: u32,
}

impl Head {
    /// Decodes the head, without the reserved bit.
    pub(crate) fn read(bytes: [u8; HEAD_BYTES]) -> Self {
        let [a, b, c, kind, flags, id @ ..] = bytes;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Self { length, kind, flags, stream: u32::from_be_bytes(id) & MAX_STREAM_ID }
    }

    /// Whether all of these bits are set.
    pub(crate) fn has(self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// Appends a frame. The payload must not exceed the peer's bound, which is at most 2^24 - 1 bytes.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    put_head(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Appends the head of a frame.
pub(crate) fn put_head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    let [.., a, b, c] = length.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Removes the padding of DATA and HEADERS; `None` if it is longer than the payload.
pub(crate) fn unpadded(head: Head, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

/// The connection preface of a client (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const HEAD_BYTES: usize = 9;
pub(crate) const MAX_STREAM_ID: u32 = 0x7fff_ffff;
/// The largest payload that a peer may send unless our settings allow more, which they do not.
pub(crate) const DEFAULT_MAX_FRAME: usize = 16_384;
/// The initial size of windows.
pub(crate) const DEFAULT_WINDOW: i64 = 65_535;
/// The initial size of header tables.
pub(crate) const DEFAULT_TABLE: usize = 4_096;
pub(crate) const MAX_WINDOW: i64 = 0x7fff_ffff;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY_FRAME: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x1;
/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 0x1;
/// Of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x4;
/// Of DATA and HEADERS.
pub(crate) const PADDED: u8 = 0x8;
/// Of HEADERS.
pub(crate) const PRIORITY: u8 = 0x20;

pub(crate) const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const SETTINGS_ENABLE_PUSH: u16 = 2;
pub(crate) const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const SETTINGS_MAX_FRAME_SIZE: u16 = 5;
pub(crate) const SETTINGS_MAX_HEADER_LIST_SIZE: u16 = 6;
pub(crate) const SETTINGS_ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// Error codes (section 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
/// The stream was not processed at all, and may be opened again.
pub(crate) const REJECTED_STREAM: u32 = 7;

/// The stream is no longer of interest.
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_put() {
        let mut out = Vec::new();
        put_frame(&mut out, PING, ACK, 0x1234_5678, &[7; 300]);
        let (head, payload) = out.split_first_chunk().unwrap();
        assert_eq!(Head::read(*head), Head { length: 300, kind: PING, flags: ACK, stream: 0x1234_5678 });
        assert_eq!(payload, [7; 300]);
    }

    #[test]
    #[allow(clippy::type_complexity)] // A table.
    fn padding_is_left_out() {
        let head = |flags| Head { length: 0, kind: DATA, flags, stream: 1 };
        let cases: [(u8, &[u8], Option<&[u8]>); 6] = [
            (0, &[3, 1, 2], Some(&[3, 1, 2])),
            (PADDED, &[0, 1, 2], Some(&[1, 2])),
            (PADDED, &[1, 1, 2], Some(&[1])),
            (PADDED, &[2, 1, 2], Some(&[])),
            (PADDED, &[3, 1, 2], None),
            (PADDED, &[], None),
        ];
        for (flags, payload, expected) in cases {
            assert_eq!(unpadded(head(flags), payload), expected, "{flags} {payload:?}");
        }
    }
}
