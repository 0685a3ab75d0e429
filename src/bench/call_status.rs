//! Decodes header blocks, with a cache by their bytes.
//!
//! A server sends the same two blocks with nearly every answer, and without a dynamic table equal blocks have equal meanings.
//! Comparing a block with earlier ones costs a fraction of decoding it.

use crate::http2::hpack::StatusDecoder;
use crate::sanitize::sanitize_within;

/// The status of a call in a header block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bench) struct CallStatus {
    /// `:status`; trailers have none.
    pub(in crate::bench) status: Option<u16>,
    /// `grpc-status`; [`u16::MAX`] if it is not a number.
    pub(in crate::bench) grpc: Option<u16>,
    /// `grpc-message` in readable form, at most [`MAX_MESSAGE`] bytes.
    pub(in crate::bench) message: Box<str>,
}

/// A cache of the latest blocks.
#[derive(Clone, Debug)]
pub(in crate::bench) struct CallStatuses {
    decoder: StatusDecoder,
    known: Vec<(Box<[u8]>, CallStatus)>,
    /// The next one to replace.
    oldest: usize,
}

impl CallStatuses {
    pub(in crate::bench) fn new() -> Self {
        Self { decoder: StatusDecoder::new(), known: Vec::with_capacity(REMEMBERED), oldest: 0 }
    }

    /// The status in `block`.
    ///
    /// # Errors
    /// It cannot be decoded.
    pub(in crate::bench) fn get(&mut self, block: &[u8]) -> Result<&CallStatus, &'static str> {
        let at = match self.known.iter().position(|(bytes, _)| **bytes == *block) {
            Some(at) => at,
            None => self.learn(block)?,
        };
        self.known.get(at).map(|(_, call_status)| call_status).ok_or("no room for a header block")
    }

    fn learn(&mut self, block: &[u8]) -> Result<usize, &'static str> {
        let meaning = self.decoder.read(block)?;
        let message = meaning.message.get(..meaning.message.len().min(MAX_MESSAGE)).unwrap_or_default();
        let call_status = CallStatus { status: meaning.status, grpc: meaning.grpc, message: plain(message).into() };
        let entry = (block.into(), call_status);
        if self.known.len() < REMEMBERED {
            self.known.push(entry);
            return Ok(self.known.len() - 1);
        }
        let at = self.oldest;
        self.oldest = (at + 1) % REMEMBERED;
        if let Some(slot) = self.known.get_mut(at) {
            *slot = entry;
        }
        Ok(at)
    }
}

/// A message, percent-decoded as specified by gRPC, and safe to show.
fn plain(message: &[u8]) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(message.len()), message);
    while let Some((first, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = digits.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    sanitize_within(MAX_MESSAGE, &String::from_utf8_lossy(&bytes))
}

/// Headers and trailers of admitted, denied and rejected calls, with a `date` that changes once a second.
const REMEMBERED: usize = 16;
/// One readable line.
const MAX_MESSAGE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::hpack::put_literal;

    #[test]
    fn blocks_are_remembered_and_forgotten_but_always_right() {
        let mut statuses = CallStatuses::new();
        for round in 0..3_u16 {
            for status in 0..40_u16 {
                let mut block = vec![0x88];
                put_literal(&mut block, false, None, "grpc-status", &status.to_string());
                put_literal(&mut block, false, None, "grpc-message", "100%25 %7F%zz%");
                let call_status = statuses.get(&block).unwrap();
                let expected = CallStatus { status: Some(200), grpc: Some(status), message: r"100% \u{7f}%zz%".into() };
                assert_eq!(*call_status, expected, "round {round}");
            }
        }
        assert_eq!(statuses.known.len(), REMEMBERED);
    }
}
