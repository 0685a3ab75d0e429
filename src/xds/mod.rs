//! Rules from a control plane: a client of xDS (the aggregated discovery service, state of the world) for the resource type
//! `ratelimit.config.ratelimit.v3.RateLimitConfig`, as Envoy Gateway and Envoy AI Gateway serve it.
//!
//! ```text
//! control plane ──stream── session ──response──► XdsRules::take
//!                             ▲                    resources (siblings merged, written as rules files)
//!                             │ ACK, NACK          ► acceptance (good domains, and why others are not), with the overlay file
//!                             └──── verdict ◄────── ► config::Publisher, the file in the data directory, XdsStatus
//! ```
//!
//! What a control plane may do, and what happens then:
//!
//! - *It is silent.* It has nothing for this node, which may last for days. There is no time limit on a response.
//! - *It ends the stream, or is away.* The rules in force stay. The next attempt is after a random part of 0.5 s, then of 1 s, up to
//!   30 s, and of 0.5 s again once a set was accepted. Each connection reads the TLS files and resolves the name again.
//! - *It restarts.* Its versions are numbers from 1 in each of its processes, so a new stream begins with no version and no nonce:
//!   then the set is sent whatever its number.
//! - *It sends a set with errors.* Domains without errors come into force, those with errors keep their rules, and the NACK
//!   has all errors. A control plane that answers a NACK with the same set at once gets the next NACK after 1 s, 2 s, up to 30 s.
//! - *It sends set after set.* After ten changes in a row, one a second is read.
//! - *It hangs.* No HTTP/2 pings: servers made with grpc-go close a connection that sends them more often than every 5 minutes. The
//!   keepalive of TCP finds a peer that is gone.

mod acceptance;
mod backoff;
mod connection;
mod document;
mod kept;
mod overlay;
mod resources;
mod response;
mod rules;
mod session;
mod siblings;
mod status;

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataKey, MetadataValue};

use crate::runtime::lifecycle::Phases;

pub(crate) use connection::{Server, ServerFiles};
pub(crate) use kept::KeptSet;
pub(crate) use overlay::OverlaySource;
pub(crate) use rules::XdsRules;
pub(crate) use status::XdsStatus;

/// How to reach the control plane, and who this client is.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Where the control plane is.
    pub server: Server,
    /// The id of this node, by which a control plane chooses what to send.
    pub node_id: String,
    /// What else it is to know about this node.
    pub node_metadata: Vec<(String, String)>,
    /// Headers of each stream. Their values are secret.
    pub headers: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
    /// The longest response that is read, in bytes.
    pub max_message_bytes: usize,
    /// The shortest and the longest range from which the pause before an attempt is drawn.
    pub retry: (Duration, Duration),
}

/// Follows the control plane until the process stops. Needs a tokio runtime.
pub(crate) fn follow(client: Client, rules: &Arc<XdsRules>, phases: Phases) {
    tokio::spawn(session::follow(client, Arc::clone(rules), phases));
}
