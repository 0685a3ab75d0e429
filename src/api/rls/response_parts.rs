//! What an answer carries besides its statuses.

/// Headers and body of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseParts {
    /// Headers for the response to the caller's client, in the configured order.
    pub response_headers: Vec<(&'static str, String)>,
    /// Headers for the request, should it pass.
    pub request_headers: Vec<(&'static str, String)>,
    /// The body of the response, when it is denied; empty: none.
    pub body: String,
}
