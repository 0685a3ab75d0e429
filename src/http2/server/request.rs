//! The headers of requests: which are well-formed (RFC 9113, section 8), and what is kept of them.

use std::sync::Arc;

use super::super::hpack::{Decoder, FieldSink, field_bytes};

/// What is kept of the headers of a request.
///
/// The same headers in the same bytes are read once: a client that asks the same again sends them as indices of its table.
pub(crate) trait Head: Default {
    /// The next field; pseudo-header fields come first. What is kept of all of them is bounded by the caller's limit on headers.
    fn field(&mut self, name: &[u8], value: &[u8]);
}

/// Reads header blocks of one connection.
#[derive(Debug)]
pub(super) struct Requests<H> {
    decoder: Decoder,
    max_bytes: usize,
    latest: Option<Known<H>>,
}

/// A block that was read, while the table is the same.
#[derive(Debug)]
struct Known<H> {
    block: Vec<u8>,
    changes: u64,
    head: Arc<H>,
    expected: Option<u64>,
}

/// What a block is.
#[derive(Debug)]
pub(super) enum Outcome<H> {
    /// The headers of a request, and the length of its body if they say it.
    Request(Arc<H>, Option<u64>),
    /// They exceed the limit.
    TooLarge,
    /// They are not those of a request.
    Malformed,
    /// So large that the peer must have meant it.
    Abuse,
}

impl<H: Head> Requests<H> {
    pub(super) fn new(max_bytes: u32) -> Self {
        Self { decoder: Decoder::new(), max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX), latest: None }
    }

    /// Reads the block of a request.
    ///
    /// # Errors
    /// It is not a header block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Outcome<H>, &'static str> {
        let changes = self.decoder.changes();
        if let Some(known) = self.latest.as_ref().filter(|known| known.changes == changes && known.block == block) {
            return Ok(Outcome::Request(Arc::clone(&known.head), known.expected));
        }
        let mut reading = Reading::<H>::new(self.max_bytes);
        self.decoder.read(block, &mut reading)?;
        if reading.bytes > self.max_bytes {
            return Ok(if is_abuse(reading.bytes, self.max_bytes) { Outcome::Abuse } else { Outcome::TooLarge });
        }
        let bytes = reading.bytes;
        let Some((head, expected)) = reading.finish() else { return Ok(Outcome::Malformed) };
        let head = Arc::new(head);
        if block.len() <= MAX_KNOWN_BYTES && bytes <= MAX_KNOWN_BYTES && self.decoder.changes() == changes {
            let known = Known { block: block.to_vec(), changes, head: Arc::clone(&head), expected };
            self.latest = Some(known);
        }
        Ok(Outcome::Request(head, expected))
    }

    /// Reads the block of trailers, of which nothing is kept.
    ///
    /// # Errors
    /// It is not a header block.
    pub(super) fn read_trailers(&mut self, block: &[u8]) -> Result<Trailers, &'static str> {
        let mut reading = ReadingTrailers { max_bytes: self.max_bytes, bytes: 0, is_malformed: false };
        self.decoder.read(block, &mut reading)?;
        Ok(reading.finish())
    }
}

/// What a block of trailers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailers {
    WellFormed,
    /// They are not those of a request, or exceed the limit.
    Malformed,
    /// So large that the peer must have meant it.
    Abuse,
}

struct ReadingTrailers {
    max_bytes: usize,
    bytes: usize,
    is_malformed: bool,
}

impl ReadingTrailers {
    fn finish(self) -> Trailers {
        match self.bytes {
            bytes if is_abuse(bytes, self.max_bytes) => Trailers::Abuse,
            bytes if bytes > self.max_bytes || self.is_malformed => Trailers::Malformed,
            _ => Trailers::WellFormed,
        }
    }
}

impl FieldSink for ReadingTrailers {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.bytes = self.bytes.saturating_add(field_bytes(name, value));
        // What a few bytes refer to is looked at no further than the limit allows.
        if self.bytes <= self.max_bytes && !self.is_malformed {
            self.is_malformed = !is_regular(name, value) || !is_value(value);
        }
    }
}

/// The headers of a request, as far as they were read.
#[expect(clippy::struct_excessive_bools, reason = "each says whether a field was there, independent of the others")]
struct Reading<H> {
    head: H,
    max_bytes: usize,
    bytes: usize,
    is_malformed: bool,
    /// Whether the pseudo-header fields are over.
    is_regular: bool,
    has_method: bool,
    is_connect: bool,
    has_scheme: bool,
    has_authority: bool,
    has_path: bool,
    expected: Option<u64>,
}

impl<H: Head> Reading<H> {
    fn new(max_bytes: usize) -> Self {
        Self {
            head: H::default(),
            max_bytes,
            bytes: 0,
            is_malformed: false,
            is_regular: false,
            has_method: false,
            is_connect: false,
            has_scheme: false,
            has_authority: false,
            has_path: false,
            expected: None,
        }
    }

    /// What was read, if it is well-formed.
    fn finish(self) -> Option<(H, Option<u64>)> {
        let is_complete = if self.is_connect {
            self.has_authority && !self.has_scheme && !self.has_path
        } else {
            self.has_method && self.has_scheme && self.has_path
        };
        (is_complete && !self.is_malformed).then_some((self.head, self.expected))
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> bool {
        let seen = match name {
            b":method" => {
                self.is_connect = value == b"CONNECT";
                &mut self.has_method
            }
            b":scheme" => &mut self.has_scheme,
            b":authority" => &mut self.has_authority,
            b":path" => &mut self.has_path,
            _ => return false,
        };
        let is_first = !std::mem::replace(seen, true);
        let is_possible = match name {
            b":authority" => true,
            b":path" => value.first() == Some(&b'/') || value == b"*",
            _ => !value.is_empty(),
        };
        is_first && !self.is_regular && is_possible
    }

    fn regular(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.is_regular = true;
        if name == b"content-length" {
            let Some(length) = number(value) else { return false };
            return self.expected.replace(length).is_none_or(|before| before == length);
        }
        is_regular(name, value)
    }
}

impl<H: Head> FieldSink for Reading<H> {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.bytes = self.bytes.saturating_add(field_bytes(name, value));
        if self.bytes > self.max_bytes || self.is_malformed {
            return;
        }
        let is_pseudo = name.first() == Some(&b':');
        let is_well_formed = if is_pseudo { self.pseudo(name, value) } else { self.regular(name, value) };
        if is_well_formed && is_value(value) {
            self.head.field(name, value);
        } else {
            self.is_malformed = true;
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether this may be a regular field, of headers or of trailers (RFC 9113, section 8.2): it is none of those that are about a connection.
fn is_regular(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection" => false,
        b"te" => value == b"trailers",
        _ => is_name(name),
    }
}

/// Whether a list of this size, of which so much is allowed, must have been meant.
fn is_abuse(bytes: usize, max_bytes: usize) -> bool {
    bytes > max_bytes.saturating_mul(ABUSE)
}

/// Whether this is the name of a regular field: a token (RFC 9110, section 5.6.2) without upper case.
fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    !name.is_empty() && name.iter().all(is_token)
}

/// Whether this is a value without control characters other than tabs.
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// The longest block that is remembered, and the size of its headers: those of a check take 10 to 300 bytes, and less than twice 500.
const MAX_KNOWN_BYTES: usize = 2 << 10;

/// So many times the limit, which only references to the table can reach, end the connection.
const ABUSE: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::super::hpack::put_field;
    use super::*;

    #[derive(Debug, Default)]
    struct Path(String);

    impl Head for Path {
        fn field(&mut self, name: &[u8], value: &[u8]) {
            if name == b":path" {
                self.0 = String::from_utf8_lossy(value).into_owned();
            }
        }
    }

    /// What a request with these headers besides `:method POST` and `:scheme http` is.
    fn read(fields: &[(&str, &str)]) -> String {
        let mut block = vec![0x83, 0x86];
        for (name, value) in fields {
            put_field(&mut block, name.as_bytes(), value.as_bytes());
        }
        outcome(Requests::new(1_000).read(&block).unwrap())
    }

    fn outcome(outcome: Outcome<Path>) -> String {
        match outcome {
            Outcome::Request(head, expected) => format!("{} {expected:?}", head.0),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn only_well_formed_requests_are_requests() {
        let path = (":path", "/a");
        for (fields, expected) in [
            (&[path][..], "/a None"),
            (&[path, ("te", "trailers"), ("content-length", "12")], "/a Some(12)"),
            (&[path, ("content-length", "12"), ("content-length", "12")], "/a Some(12)"),
            (&[path, ("x-bytes", "a\tb\u{fc}")], "/a None"),
            (&[], "Malformed"),
            (&[(":path", "")], "Malformed"),
            (&[(":path", "a")], "Malformed"),
            (&[(":path", "*")], "* None"),
            (&[path, path], "Malformed"),
            (&[path, (":method", "GET")], "Malformed"),
            (&[path, (":status", "200")], "Malformed"),
            (&[path, (":protocol", "x")], "Malformed"),
            (&[("a", "b"), path], "Malformed"),
            (&[path, ("Upper", "b")], "Malformed"),
            (&[path, ("", "b")], "Malformed"),
            (&[path, ("a b", "b")], "Malformed"),
            (&[path, ("a", "b\nc")], "Malformed"),
            (&[path, ("a", "\0")], "Malformed"),
            (&[path, ("connection", "close")], "Malformed"),
            (&[path, ("transfer-encoding", "chunked")], "Malformed"),
            (&[path, ("te", "gzip")], "Malformed"),
            (&[path, ("content-length", "+1")], "Malformed"),
            (&[path, ("content-length", "")], "Malformed"),
            (&[path, ("content-length", "99999999999999999999")], "Malformed"),
            (&[path, ("content-length", "1"), ("content-length", "2")], "Malformed"),
            (&[path, ("a", &"b".repeat(1_000))], "TooLarge"),
            (&[path, ("a", &"b".repeat(4_000))], "Abuse"),
        ] {
            assert_eq!(read(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn only_regular_fields_are_trailers() {
        let (half, large, abuse) = ("b".repeat(500), "b".repeat(1_000), "b".repeat(4_000));
        for (fields, expected) in [
            (&[][..], Trailers::WellFormed),
            (&[("a", "b\tc"), ("te", "trailers"), ("content-length", "-")], Trailers::WellFormed),
            (&[(":path", "/a")], Trailers::Malformed),
            (&[("Upper", "b")], Trailers::Malformed),
            (&[("", "b")], Trailers::Malformed),
            (&[("a", "b\nc")], Trailers::Malformed),
            (&[("connection", "close")], Trailers::Malformed),
            (&[("upgrade", "h2c"), ("a", "b")], Trailers::Malformed),
            (&[("te", "gzip")], Trailers::Malformed),
            (&[("a", &half)], Trailers::WellFormed),
            (&[("a", &half), ("a", &half)], Trailers::Malformed),
            (&[("a", &large)], Trailers::Malformed),
            (&[("a", &abuse)], Trailers::Abuse),
        ] {
            let mut block = Vec::new();
            for (name, value) in fields {
                put_field(&mut block, name.as_bytes(), value.as_bytes());
            }
            assert_eq!(Requests::<Path>::new(1_000).read_trailers(&block), Ok(expected), "{fields:?}");
        }
    }

    #[test]
    fn a_known_block_is_read_again_only_when_the_table_has_changed() {
        let mut requests = Requests::<Path>::new(1_000);
        let mut read = |block: &[u8]| match requests.read(block).unwrap() {
            Outcome::Request(head, _) => head,
            other => panic!("{other:?}"),
        };
        read(b"\x83\x86\x44\x02/a");
        let first = read(&[0x83, 0x86, 0xbe]);
        assert!(Arc::ptr_eq(&first, &read(&[0x83, 0x86, 0xbe])));
        assert_eq!(read(b"\x83\x86\x44\x02/b").0, "/b");
        assert_eq!((read(&[0x83, 0x86, 0xbe]).0.as_str(), first.0.as_str()), ("/b", "/a"));
    }
}
