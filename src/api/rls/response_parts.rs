//! The parts of an answer besides its statuses.

/// Headers and body of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseParts {
    /// Headers for the response to the client, in the configured order.
    pub response_headers: Vec<(&'static str, String)>,
    /// Headers for the request, if it is admitted.
    pub request_headers: Vec<(&'static str, String)>,
    /// The body of the response, if the request is denied; empty: none.
    pub body: String,
}
