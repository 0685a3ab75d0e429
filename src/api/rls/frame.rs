//! Frames of the rate limit service, taken in and out as they are.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A request as it came, one protobuf message.
#[derive(Debug)]
pub struct RequestFrame(pub Bytes);

/// An answer, encoded, with the five bytes before it that gRPC wants: it goes to the socket as it is.
///
/// Plain bytes: shared ones would cost a second allocation, and nobody shares them.
#[derive(Debug)]
pub struct ResponseFrame(Vec<u8>);

impl ResponseFrame {
    /// Lets `write` append one message after its prefix.
    pub(crate) fn with_capacity(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut framed = Vec::with_capacity(PREFIX_BYTES + capacity);
        framed.extend_from_slice(&[0; PREFIX_BYTES]);
        write(&mut framed);
        // No answer reaches 4 GiB: it repeats less than a request holds, and rules are bounded.
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

    /// The message with its prefix: not compressed, and its length.
    pub fn into_framed(self) -> Vec<u8> {
        self.0
    }
}

/// The one message in `framed`, the body of a unary call; `None` when it is compressed, cut short, or not alone.
pub fn sole_message(framed: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = framed.split_first_chunk::<PREFIX_BYTES>()?;
    let [0, length @ ..] = *prefix else { return None };
    (usize::try_from(u32::from_be_bytes(length)) == Ok(message.len())).then_some(message)
}

/// Whether the first message in `framed` is compressed, and how many bytes it takes with its prefix: all, when it is not
/// complete.
pub fn first_message(framed: &[u8]) -> (bool, usize) {
    let Some(([flag, length @ ..], _)) = framed.split_first_chunk::<PREFIX_BYTES>() else {
        return (false, framed.len());
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    (*flag != 0, length.saturating_add(PREFIX_BYTES).min(framed.len()))
}

/// Whether the message is compressed, and its length in four bytes. Source: gRPC over HTTP/2, Length-Prefixed-Message.
const PREFIX_BYTES: usize = 5;

/// Takes frames in and out as they are: decoding borrows from the frame, encoding writes into it.
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
