//! A response as it is decoded: with a bound on its resources, which is checked before.

use prost::bytes::Buf;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::api::discovery::read_response;
use crate::api::proto::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

/// A response, without its resources if they are more than [`MAX_RESOURCES`].
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) message: DiscoveryResponse,
    /// How many resources it has.
    pub(super) resources: usize,
}

/// The codec of the stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseCodec;

impl Codec for ResponseCodec {
    type Encode = DiscoveryRequest;
    type Decode = Response;
    type Encoder = ProstEncoder<DiscoveryRequest>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<DiscoveryRequest, DiscoveryResponse>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self
    }
}

impl Decoder for ResponseCodec {
    type Item = Response;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Response>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        let (message, resources) =
            read_response(&message, MAX_RESOURCES).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(Response { message, resources }))
    }
}

/// Far more domains than a control plane has; each is a file in the dump.
pub(super) const MAX_RESOURCES: usize = 10_000;
