//! A check as bytes, made once: only stream numbers and keys are written into it.

use prost::Message;

use super::http2::frame::{DATA, END_HEADERS, END_STREAM, HEAD_BYTES, HEADERS, put_frame, put_head};
use super::http2::hpack::{put_indexed_name, put_literal};
use super::traffic::{DIGITS, OVER_LIMIT, Picks, Traffic};
use crate::wire::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use crate::wire::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use crate::wire::proto::envoy::service::ratelimit::v3::RateLimitRequest;

/// A check's frames, HEADERS and DATA, and where they vary.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Both frames, the second one as if it fitted the peer's bounds.
    bytes: Vec<u8>,
    /// Where the second one begins.
    data_at: usize,
    /// Where keys stand, in order.
    keys_at: Vec<usize>,
    /// Keys that stand for one descriptor.
    entries: usize,
}

impl Template {
    /// The checks of this traffic, to a server that is called `authority`.
    pub(super) fn new(traffic: &Traffic, authority: &str) -> Self {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, HEADERS, END_HEADERS, 0, &header_block(authority));
        let data_at = bytes.len();
        // Where two messages of the same keys differ, there are the keys.
        let (zeros, nines) = (message(traffic, '0'), message(traffic, '9'));
        let length = u32::try_from(zeros.len()).unwrap_or(u32::MAX);
        put_head(&mut bytes, DATA, END_STREAM, 0, GRPC_PREFIX + zeros.len());
        bytes.push(0);
        bytes.extend_from_slice(&length.to_be_bytes());
        let message_at = bytes.len();
        bytes.extend_from_slice(&zeros);
        let differs = zeros.iter().zip(&nines).enumerate().filter(|(_, (zero, nine))| zero != nine);
        let keys_at = differs.map(|(at, _)| message_at + at).step_by(DIGITS).collect();
        Self { bytes, data_at, keys_at, entries: traffic.entries }
    }

    /// Bytes of the DATA frame's payload.
    pub(super) fn body_bytes(&self) -> usize {
        self.bytes.len() - self.data_at - HEAD_BYTES
    }

    /// Makes the next check, and what it is sent as: both frames.
    pub(super) fn next(&mut self, stream: u32, picks: &mut Picks) -> &[u8] {
        for head in [0, self.data_at] {
            self.put(head + 5, stream.to_be_bytes());
        }
        let mut over_limit = picks.is_over_limit();
        for first in (0..self.keys_at.len()).step_by(self.entries.max(1)) {
            let key = digits(picks.key());
            for entry in first..first + self.entries {
                let value = if std::mem::take(&mut over_limit) { NOTHING } else { key };
                if let Some(at) = self.keys_at.get(entry) {
                    self.put(*at, value);
                }
            }
        }
        &self.bytes
    }

    /// Takes what [`next`](Self::next) gave apart: the HEADERS frame, and the DATA frame's payload.
    pub(super) fn parts<'a>(&self, check: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (headers, data) = check.split_at_checked(self.data_at).unwrap_or_default();
        (headers, data.get(HEAD_BYTES..).unwrap_or_default())
    }

    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(at..at + N) {
            place.copy_from_slice(&bytes);
        }
    }
}

/// The same bytes for each check: nothing is indexed, so that the server keeps no table for it either.
fn header_block(authority: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are entries 3 and 6 of the static table.
    let mut block = vec![0x83, 0x86];
    put_indexed_name(&mut block, PATH_NAME, PATH);
    put_indexed_name(&mut block, AUTHORITY_NAME, authority);
    put_indexed_name(&mut block, CONTENT_TYPE_NAME, "application/grpc");
    put_literal(&mut block, "te", "trailers");
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

/// Whether it is compressed, and the length.
const GRPC_PREFIX: usize = 5;
/// Names of the static table.
const AUTHORITY_NAME: u8 = 1;
const PATH_NAME: u8 = 4;
const CONTENT_TYPE_NAME: u8 = 31;
const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

#[cfg(test)]
mod tests {
    use super::super::http2::frame::Head;
    use super::super::traffic::Popularity;
    use super::*;

    fn traffic(over_limit: f64) -> Traffic {
        let domain = "0000000000".into();
        Traffic { domain, descriptors: 2, entries: 3, keys: 1_000, popularity: Popularity::Uniform, over_limit }
    }

    fn decoded(check: &[u8], template: &Template) -> RateLimitRequest {
        let (_, body) = template.parts(check);
        RateLimitRequest::decode(&body[GRPC_PREFIX..]).unwrap()
    }

    #[test]
    fn a_check_is_what_the_generated_type_reads() {
        let traffic = traffic(0.0);
        let (mut template, mut picks) = (Template::new(&traffic, "host"), Picks::new(&traffic, 3).unwrap());
        let mut same = picks.clone();
        for stream in [1, 3, 0x7fff_ffff] {
            let check = template.next(stream, &mut picks).to_vec();
            let head = Head::read(*check.first_chunk().unwrap());
            assert_eq!((head.kind, head.flags, head.stream), (HEADERS, END_HEADERS, stream));
            let data = Head::read(*check[head.length + HEAD_BYTES..].first_chunk().unwrap());
            assert_eq!((data.kind, data.flags, data.stream), (DATA, END_STREAM, stream));
            assert_eq!(data.length, template.body_bytes());
            let request = decoded(&check, &template);
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
    fn a_check_for_nothing_says_so_in_its_first_descriptor() {
        let traffic = traffic(1.0);
        let (mut template, mut picks) = (Template::new(&traffic, "host"), Picks::new(&traffic, 3).unwrap());
        let check = template.next(1, &mut picks).to_vec();
        let request = decoded(&check, &template);
        let values: Vec<_> =
            request.descriptors.iter().map(|descriptor| descriptor.entries[0].value.as_str()).collect();
        assert_eq!(values[0], OVER_LIMIT);
        assert_ne!(values[1], OVER_LIMIT);
        assert_ne!(request.descriptors[0].entries[1].value, OVER_LIMIT);
    }
}
