//! Keeps the requests and answers of a caller within the domains of its token.
//!
//! What is rejected reads the same whether or not it exists, so that no answer names a rule or a domain of others.

use std::sync::Arc;

use tonic::{Request, Status};

use crate::access::{Domains, Principal};
use crate::api::proto::tidegate::v1 as proto;
use crate::limiter::{Limiter, View};
use crate::sanitize::sanitize;

/// A caller, and the rules by which rules belong to domains.
#[derive(Clone, Debug)]
pub(super) struct Within {
    principal: Arc<Principal>,
    limiter: Arc<Limiter>,
}

impl Within {
    /// This caller.
    pub(super) fn new(principal: Arc<Principal>, limiter: Arc<Limiter>) -> Self {
        Self { principal, limiter }
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// The request has not passed the guard of the port.
    pub(super) fn of<T>(request: &Request<T>, limiter: &Arc<Limiter>) -> Result<Self, Status> {
        let principal = request.extensions().get::<Arc<Principal>>();
        let principal = principal.ok_or_else(|| Status::unauthenticated("the caller is not known"))?;
        Ok(Self::new(Arc::clone(principal), Arc::clone(limiter)))
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether the caller may see all domains.
    pub(super) fn is_everywhere(&self) -> bool {
        self.principal.domains == Domains::All
    }

    /// The domain of a request that may leave it out. Of a token with one domain it is that one.
    ///
    /// # Errors
    /// Another domain, or none although the token has several.
    pub(super) fn filter(&self, domain: &mut String) -> Result<(), Status> {
        match &self.principal.domains {
            Domains::All => Ok(()),
            Domains::Only(_) if !domain.is_empty() => self.domain(domain),
            Domains::Only(domains) => match &**domains {
                [only] => {
                    domain.clone_from(only);
                    Ok(())
                }
                several => {
                    let shown: Vec<_> = several.iter().take(MAX_SHOWN).map(|domain| sanitize(domain)).collect();
                    Err(Status::invalid_argument(format!(
                        "this token has several domains: name one of {}",
                        shown.join(", ")
                    )))
                }
            },
        }
    }

    /// Checks that the caller may see a domain.
    pub(super) fn domain(&self, domain: &str) -> Result<(), Status> {
        if self.principal.domains.contain(domain) { Ok(()) } else { Err(self.foreign("domain", domain)) }
    }

    /// Checks that the caller may see every rule with a path.
    pub(super) fn rule(&self, path: &str) -> Result<(), Status> {
        if self.sees_rule(path) { Ok(()) } else { Err(self.foreign("rule", path)) }
    }

    /// Checks that the caller may see what a setting applies to.
    pub(super) fn scope(&self, scope: Option<&proto::SettingScope>) -> Result<(), Status> {
        match scope {
            _ if self.is_everywhere() => Ok(()),
            Some(scope) if !scope.rule.is_empty() => self.rule(&scope.rule),
            Some(scope) if !scope.domain.is_empty() => self.domain(&scope.domain),
            _ => Err(self.everything()),
        }
    }

    /// Checks that the caller may do what concerns all domains.
    pub(super) fn everywhere(&self) -> Result<(), Status> {
        if self.is_everywhere() { Ok(()) } else { Err(self.everything()) }
    }

    /// Whether the caller may see every rule with a path. One that is not in force belongs to nobody.
    pub(super) fn sees_rule(&self, path: &str) -> bool {
        if self.is_everywhere() {
            return true;
        }
        let view = self.limiter.view();
        let Some(rules) = view.as_ref().and_then(View::rules) else { return false };
        let mut named = rules.rules_named(path).peekable();
        named.peek().is_some() && named.all(|rule| self.principal.domains.contain(&rule.domain))
    }

    /// Whether the caller may see what a setting applies to.
    pub(super) fn sees_scope(&self, scope: Option<&proto::SettingScope>) -> bool {
        self.scope(scope).is_ok()
    }

    fn foreign(&self, what: &str, name: &str) -> Status {
        let name = name.get(..name.floor_char_boundary(MAX_NAME_BYTES)).unwrap_or_default();
        Status::permission_denied(format!("the token '{}' has no {what} '{}'", self.principal.name, sanitize(name)))
    }

    fn everything(&self) -> Status {
        Status::permission_denied(format!(
            "this concerns all domains, and the token '{}' has only some: name a domain or a rule",
            self.principal.name
        ))
    }
}

/// Domains that an error lists.
const MAX_SHOWN: usize = 10;
/// Bytes of a name that an error quotes.
const MAX_NAME_BYTES: usize = 200;
