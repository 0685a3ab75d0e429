//! The messages of all ports: generated types, and the conversions between them and the domain types.
//!
//! A request is read in place: [`rls::read`] walks the protobuf message and borrows keys and values from the frame. An answer
//! is written directly into the response frame by [`rls::write()`]. Tests compare both with the generated types of
//! [`proto`]. Keys and values that are not UTF-8 are decoded lossily and limited like any other: with an error, a fail-open
//! Envoy would let every such request pass.

pub(crate) mod configs;
pub(crate) mod discovery;
mod protobuf;
pub mod protojson;
pub mod recorded;
pub mod rls;
pub mod usage;

/// Message types and clients, generated from `proto/`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod proto {
    /// Every descriptor of what the ports serve, encoded; reflection serves it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    pub mod envoy {
        pub mod config {
            pub mod core {
                pub mod v3 {
                    tonic::include_proto!("envoy.config.core.v3");
                }
            }
        }
        pub mod extensions {
            pub mod common {
                pub mod ratelimit {
                    pub mod v3 {
                        tonic::include_proto!("envoy.extensions.common.ratelimit.v3");
                    }
                }
            }
        }
        pub mod r#type {
            pub mod v3 {
                tonic::include_proto!("envoy.r#type.v3");
            }
        }
        pub mod service {
            pub mod discovery {
                pub mod v3 {
                    tonic::include_proto!("envoy.service.discovery.v3");
                }
            }
            pub mod ratelimit {
                pub mod v3 {
                    tonic::include_proto!("envoy.service.ratelimit.v3");
                }
            }
        }
    }
    pub mod google {
        pub mod rpc {
            tonic::include_proto!("google.rpc");
        }
    }
    pub mod ratelimit {
        pub mod config {
            pub mod ratelimit {
                pub mod v3 {
                    tonic::include_proto!("ratelimit.config.ratelimit.v3");
                }
            }
        }
    }
    pub mod tidegate {
        pub mod v1 {
            tonic::include_proto!("tidegate.v1");
        }
    }
}

/// The generated server side of the usage service.
#[allow(unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod usage_service {
    include!(concat!(env!("OUT_DIR"), "/raw/tidegate.v1.UsageService.rs"));
}

/// The generated server side, over raw frames.
#[allow(unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod rls_service {
    include!(concat!(env!("OUT_DIR"), "/raw_rate_limit_service.rs"));
}
