//! Frames of the rate limit service, passed through without decoding.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A request as received, one protobuf message.
#[derive(Debug)]
pub struct RequestFrame(pub Bytes);

/// An encoded answer with the five-byte prefix of gRPC, ready for the socket.
///
/// A `Vec`: `Bytes` would cost a second allocation, and answers are not shared.
#[derive(Debug)]
pub struct ResponseFrame(Vec<u8>);

impl ResponseFrame {
    /// A frame with the message that `write` appends.
    pub(crate) fn with_capacity(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut framed = Vec::with_capacity(PREFIX_BYTES + capacity);
        framed.extend_from_slice(&[0; PREFIX_BYTES]);
        write(&mut framed);
        // No answer reaches 4 GiB: it repeats only parts of the request, and rules are bounded.
        let length = u32::try_from(framed.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
        if let Some(prefix) = framed.get_mut(1..PREFIX_BYTES) {
            prefix.copy_from_slice(&length.to_be_bytes());
        }
        Self(framed)
    }

    /// The message alone.
    pub fn message(&self) -> &[u8] {
        self.0.get(PREFIX_BYTES..).unwrap_or_default()
    }

    /// The message with its prefix, as it is sent.
    pub(crate) fn framed(&self) -> &[u8] {
        &self.0
    }

    /// The message with its prefix: not compressed, and its length.
    pub fn into_framed(self) -> Vec<u8> {
        self.0
    }
}

/// The only message in `framed`, the body of a unary call; `None` if it is compressed, incomplete or not the only one.
pub fn sole_message(framed: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = framed.split_first_chunk::<PREFIX_BYTES>()?;
    let [0, length @ ..] = *prefix else { return None };
    (usize::try_from(u32::from_be_bytes(length)) == Ok(message.len())).then_some(message)
}

/// Whether the first message in `framed` is compressed, and its length with the prefix, which is that of `framed` if it is
/// incomplete.
pub fn first_message(framed: &[u8]) -> (bool, usize) {
    let Some(([flag, length @ ..], _)) = framed.split_first_chunk::<PREFIX_BYTES>() else {
        return (false, framed.len());
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    (*flag != 0, length.saturating_add(PREFIX_BYTES).min(framed.len()))
}

/// Whether the message is compressed, and its length in four bytes. Source: gRPC over HTTP/2, Length-Prefixed-Message.
const PREFIX_BYTES: usize = 5;

/// Passes frames through: decoding borrows from the frame, encoding writes into it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = ResponseFrame;
    type Decode = RequestFrame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for FrameCodec {
    type Item = ResponseFrame;
    type Error = Status;

    fn encode(&mut self, frame: ResponseFrame, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(frame.message());
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = RequestFrame;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<RequestFrame>, Status> {
        Ok(Some(RequestFrame(frame.copy_to_bytes(frame.remaining()))))
    }
}
