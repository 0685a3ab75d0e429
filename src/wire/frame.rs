//! Frames of the rate limit service, taken in and out as they are.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A request as it came, one protobuf message.
#[derive(Debug)]
pub struct RequestFrame(pub Bytes);

/// An answer, encoded. Plain bytes: shared ones would cost a second allocation, and nobody shares them.
#[derive(Debug)]
pub struct ResponseFrame(pub Vec<u8>);

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
        out.put_slice(&frame.0);
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
