//! A check as a template of bytes, in which only the stream's number and the keys change.

use prost::Message;

use super::traffic::{DIGITS, OVER_LIMIT, Picks, Traffic};
use crate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use crate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use crate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use crate::http2::frame::{DATA, END_HEADERS, END_STREAM, HEAD_BYTES, HEADERS, put_frame, put_head};
use crate::http2::hpack;

/// The frames of a check, HEADERS and DATA, and the positions that vary.
#[derive(Clone, Debug)]
pub(super) struct Template {
    headers: [Vec<u8>; 3],
    /// The size of the server's header table that [`Form::First`] and [`Form::Later`] need, in bytes.
    table_bytes: usize,
    /// One DATA frame, even if it exceeds the peer's bounds.
    data: Vec<u8>,
    /// The positions of keys in `data`, in order.
    keys_at: Vec<usize>,
    /// The number of keys of one descriptor.
    entries: usize,
}

/// The encoding of a check's headers. All encode the same headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In full, to be added to the server's table.
    First,
    /// As indices into the server's table: a few bytes, as from any long-lived client such as Envoy.
    Later,
    /// In full, for a server without a table.
    Plain,
}

impl Template {
    /// The template of checks with this traffic, for a server with this `authority`, which is called with TLS or without.
    pub(super) fn new(traffic: &Traffic, authority: &str, tls: bool) -> Self {
        let headers = [Form::First, Form::Later, Form::Plain].map(|form| {
            let mut frame = Vec::new();
            put_frame(&mut frame, HEADERS, END_HEADERS, 0, &header_block(authority, tls, form));
            frame
        });
        // The positions where two messages with different keys differ are those of the keys.
        let (zeros, nines) = (message(traffic, '0'), message(traffic, '9'));
        let length = u32::try_from(zeros.len()).unwrap_or(u32::MAX);
        let mut data = Vec::new();
        put_head(&mut data, DATA, END_STREAM, 0, GRPC_PREFIX + zeros.len());
        data.push(0);
        data.extend_from_slice(&length.to_be_bytes());
        let differs = zeros.iter().zip(&nines).enumerate().filter(|(_, (zero, nine))| zero != nine);
        let keys_at = differs.map(|(at, _)| data.len() + at).step_by(DIGITS).collect();
        data.extend_from_slice(&zeros);
        let table_bytes = remembered(authority).iter().map(|header| header.name.len() + header.value.len() + 32).sum();
        Self { headers, table_bytes, data, keys_at, entries: traffic.entries }
    }

    /// The length of the DATA frame's payload.
    pub(super) fn body_bytes(&self) -> usize {
        self.data.len() - HEAD_BYTES
    }

    /// The size of the server's header table that our headers need, in bytes.
    pub(super) fn table_bytes(&self) -> usize {
        self.table_bytes
    }

    /// The HEADERS frame of a check.
    pub(super) fn headers(&mut self, form: Form, stream: u32) -> &[u8] {
        let [first, later, plain] = &mut self.headers;
        let frame = match form {
            Form::First => first,
            Form::Later => later,
            Form::Plain => plain,
        };
        put(frame, STREAM_AT, stream.to_be_bytes());
        frame
    }

    /// The DATA frame of the next check.
    pub(super) fn data(&mut self, stream: u32, picks: &mut Picks) -> &[u8] {
        put(&mut self.data, STREAM_AT, stream.to_be_bytes());
        let mut over_limit = picks.is_over_limit();
        for descriptor in self.keys_at.chunks(self.entries.max(1)) {
            let key = digits(picks.key());
            for at in descriptor {
                let value = if std::mem::take(&mut over_limit) { NOTHING } else { key };
                put(&mut self.data, *at, value);
            }
        }
        &self.data
    }
}

fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = frame.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

/// A header that is not in the static table.
struct Header<'a> {
    /// The index of the name in the static table, if it is there.
    index: Option<usize>,
    name: &'static str,
    value: &'a str,
}

fn remembered(authority: &str) -> [Header<'_>; 4] {
    [
        Header { index: Some(4), name: ":path", value: PATH },
        Header { index: Some(1), name: ":authority", value: authority },
        Header { index: Some(31), name: "content-type", value: "application/grpc" },
        Header { index: None, name: "te", value: "trailers" },
    ]
}

fn header_block(authority: &str, tls: bool, form: Form) -> Vec<u8> {
    // Clears the table before each block, in case something was added to it.
    let mut block = if form == Form::Plain { vec![hpack::EMPTY_TABLE] } else { Vec::new() };
    // `:method: POST`, `:scheme: http` and `:scheme: https` are entries 3, 6 and 7 of the static table.
    hpack::put_indexed(&mut block, 3);
    hpack::put_indexed(&mut block, if tls { 7 } else { 6 });
    let headers = remembered(authority);
    let count = headers.len();
    for (at, header) in headers.into_iter().enumerate() {
        if form == Form::Later {
            // The latest header is the first one in the table.
            hpack::put_indexed(&mut block, hpack::STATIC_ENTRIES + count - at);
        } else {
            hpack::put_literal(&mut block, form == Form::First, header.index, header.name, header.value);
        }
    }
    block
}

fn message(traffic: &Traffic, digit: char) -> Vec<u8> {
    let value = digit.to_string().repeat(DIGITS);
    let entry = |at| Entry { key: format!("k{at}"), value: value.clone() };
    let entries: Vec<_> = (0..traffic.entries).map(entry).collect();
    let descriptor = RateLimitDescriptor { entries, ..RateLimitDescriptor::default() };
    let descriptors = vec![descriptor; traffic.descriptors];
    RateLimitRequest { domain: traffic.domain.clone(), descriptors, hits_addend: 0 }.encode_to_vec()
}

fn digits(mut key: u64) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    for digit in text.iter_mut().rev() {
        *digit += (key % 10).to_le_bytes()[0];
        key /= 10;
    }
    text
}

const NOTHING: [u8; DIGITS] = {
    let mut value = [0; DIGITS];
    assert!(OVER_LIMIT.len() == DIGITS);
    value.copy_from_slice(OVER_LIMIT.as_bytes());
    value
};

/// The flag for compression, and the length.
const GRPC_PREFIX: usize = 5;
/// The position of the stream's number in the head of a frame.
const STREAM_AT: usize = 5;
const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

#[cfg(test)]
mod tests {
    use super::super::traffic::Popularity;
    use super::*;
    use crate::http2::frame::Head;

    fn traffic(over_limit: f64) -> Traffic {
        let domain = "0000000000".into();
        Traffic { domain, descriptors: 2, entries: 3, keys: 1_000, popularity: Popularity::Uniform, over_limit }
    }

    fn decoded(data: &[u8]) -> RateLimitRequest {
        RateLimitRequest::decode(&data[HEAD_BYTES + GRPC_PREFIX..]).unwrap()
    }

    #[test]
    fn a_check_is_what_the_generated_type_reads() {
        let traffic = traffic(0.0);
        let (mut template, mut picks) = (Template::new(&traffic, "host", false), Picks::new(&traffic, 3).unwrap());
        let mut same = picks.clone();
        for stream in [1, 3, 0x7fff_ffff] {
            for form in [Form::First, Form::Later, Form::Plain] {
                let head = Head::read(*template.headers(form, stream).first_chunk().unwrap());
                assert_eq!((head.kind, head.flags, head.stream), (HEADERS, END_HEADERS, stream));
            }
            let length = template.body_bytes();
            let data = template.data(stream, &mut picks);
            let head = Head::read(*data.first_chunk().unwrap());
            assert_eq!(head, Head { length, kind: DATA, flags: END_STREAM, stream });
            let request = decoded(data);
            assert_eq!((request.domain.as_str(), request.descriptors.len()), ("0000000000", 2));
            same.is_over_limit();
            for descriptor in request.descriptors {
                let key = format!("{:010}", same.key());
                let expected = (0..3).map(|at| Entry { key: format!("k{at}"), value: key.clone() }).collect::<Vec<_>>();
                assert_eq!(descriptor.entries, expected);
            }
        }
    }

    #[test]
    fn headers_that_are_remembered_take_six_bytes() {
        let mut template = Template::new(&traffic(0.0), "host", false);
        assert_eq!(template.headers(Form::Later, 1)[HEAD_BYTES..], [0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]);
        assert_eq!(template.table_bytes(), (5 + PATH.len()) + (10 + 4) + (12 + 16) + (2 + 8) + 4 * 32);
    }

    #[test]
    fn a_check_for_nothing_says_so_in_its_first_descriptor() {
        let traffic = traffic(1.0);
        let (mut template, mut picks) = (Template::new(&traffic, "host", false), Picks::new(&traffic, 3).unwrap());
        let request = decoded(template.data(1, &mut picks));
        let values: Vec<_> =
            request.descriptors.iter().map(|descriptor| descriptor.entries[0].value.as_str()).collect();
        assert_eq!(values[0], OVER_LIMIT);
        assert_ne!(values[1], OVER_LIMIT);
        assert_ne!(request.descriptors[0].entries[1].value, OVER_LIMIT);
    }
}
