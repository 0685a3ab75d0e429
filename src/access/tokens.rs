//! The tokens of a file: read from YAML, found by their hash.

use std::collections::HashSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::content::{ContentError, check_domain, error, read_domains, read_list};
use super::file::Content;
use super::{Domains, Principal, Role};
use crate::hex::hex;
use crate::rules::yaml::{Kind, Node, Pair};
use crate::sanitize::sanitize;

/// All tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<Token>);

#[derive(Debug)]
struct Token {
    sha256: [u8; 32],
    principal: Arc<Principal>,
}

/// A token that has just been made: the only moment at which it is known.
pub(crate) struct NewToken {
    /// The token itself.
    pub(crate) secret: String,
    /// The line for the file.
    pub(crate) line: String,
}

impl Content for Tokens {
    const FLAG: &'static str = "--admin-tokens";
    const WHAT: &'static str = "tokens";

    /// Reads `tokens: [{name, role, domains, sha256}]`.
    fn read(text: &[u8]) -> Result<Self, ContentError> {
        let hint = "`tidegate token new` prints its lines";
        let tokens = read_list(text, "tokens", MAX_TOKENS, hint, read_token)?;
        let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
        for (line, token) in &tokens {
            if !names.insert(&token.principal.name) {
                return Err(error(*line, format!("a second token has the name '{}'", sanitize(&token.principal.name))));
            }
            if !hashes.insert(token.sha256) {
                return Err(error(*line, "a second token has the same sha256"));
            }
        }
        drop((names, hashes));
        Ok(Self(tokens.into_iter().map(|(_, token)| token).collect()))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Tokens {
    /// The principal of a token. The time depends on the number of tokens only.
    pub(super) fn find(&self, secret: &str) -> Option<Arc<Principal>> {
        let hash: [u8; 32] = Sha256::digest(secret).into();
        // Each is compared, so that the time says nothing about which one it is.
        let is_it = |token: &&Token| bool::from(token.sha256.ct_eq(&hash));
        self.0.iter().filter(is_it).fold(None, |_, token| Some(Arc::clone(&token.principal)))
    }
}

impl NewToken {
    /// A new token of 256 random bits.
    ///
    /// # Errors
    /// A name or domain that a file could not have, or no random numbers from the system; in words.
    pub(crate) fn new(name: &str, role: Role, domains: &[String]) -> Result<Self, String> {
        check_name(name)?;
        domains.iter().try_for_each(|domain| check_domain(domain))?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| format!("no random numbers from the system: {error}"))?;
        let secret = format!("{PREFIX}{}", hex(&random));
        let hash = hex(&Sha256::digest(&secret));
        let quoted = |text: &String| format!("{text:?}");
        let domains = match domains {
            [] => String::new(),
            some => format!(", domains: [{}]", some.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        };
        let line = format!("  - {{name: {name:?}, role: {role}{domains}, sha256: {hash:?}}}");
        Ok(Self { secret, line })
    }
}

fn read_token(node: &Node) -> Result<Token, ContentError> {
    let Kind::Map(pairs) = &node.kind else {
        return Err(error(node.line, "a token is a map: {name: ..., role: ..., domains: [...], sha256: ...}"));
    };
    let (mut name, mut role, mut domains, mut sha256) = (None, None, Domains::All, None);
    for Pair { key, value } in pairs {
        match key.as_text() {
            Some("name") => name = Some(read_name(value)?),
            Some("role") => role = Some(read_role(value)?),
            Some("domains") => domains = Domains::only(read_domains(value, "leave it out for all domains")?),
            Some("sha256") => sha256 = Some(read_hash(value)?),
            _ => return Err(error(key.line, "the keys of a token are name, role, domains and sha256")),
        }
    }
    let missing = |what: &str| error(node.line, format!("a token has no '{what}'"));
    let name = name.ok_or_else(|| missing("name"))?;
    let role = role.ok_or_else(|| missing("role"))?;
    let sha256 = sha256.ok_or_else(|| missing("sha256"))?;
    Ok(Token { sha256, principal: Arc::new(Principal { name, role, domains }) })
}

fn read_name(node: &Node) -> Result<String, ContentError> {
    let name = node.as_text().ok_or_else(|| error(node.line, "'name' must be a text"))?;
    check_name(name).map_err(|what| error(node.line, what))?;
    Ok(name.to_owned())
}

fn read_role(node: &Node) -> Result<Role, ContentError> {
    let found = Role::ALL.into_iter().find(|role| node.as_text() == Some(role.name()));
    found.ok_or_else(|| error(node.line, "'role' must be observer, operator or admin"))
}

fn read_hash(node: &Node) -> Result<[u8; 32], ContentError> {
    // Digits alone are a number to YAML; as such they have lost zeros.
    let wrong = || {
        error(node.line, "'sha256' must be 64 hexadecimal digits in quotes: the SHA-256 of the token, not the token")
    };
    let text = node.as_text().filter(|text| text.len() == 64 && text.is_ascii()).ok_or_else(wrong)?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

fn check_name(name: &str) -> Result<(), String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_fit) {
        return Err(format!("a name is 1 to {MAX_NAME_BYTES} letters, digits and any of - _ . @"));
    }
    Ok(())
}

/// Begins each new token, so that scanners for leaked secrets can find it.
const PREFIX: &str = "tdg_";
/// Each request is compared with all tokens.
const MAX_TOKENS: usize = 1_000;
/// Names are in each line of the audit log.
const MAX_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tokens: &[&NewToken]) -> String {
        let lines: Vec<_> = tokens.iter().map(|token| &*token.line).collect();
        format!("tokens:\n{}\n", lines.join("\n"))
    }

    #[test]
    fn a_new_token_is_found_in_a_file_with_its_line() {
        let one = NewToken::new("ops", Role::Operator, &["api".to_owned(), "a \"b\": {c}".to_owned()]).unwrap();
        let two = NewToken::new("root", Role::Admin, &[]).unwrap();
        assert_ne!(one.secret, two.secret);
        let tokens = Tokens::read(file(&[&one, &two]).as_bytes()).unwrap();
        let found = tokens.find(&one.secret).unwrap();
        let domains = Domains::Only(vec!["a \"b\": {c}".to_owned(), "api".to_owned()]);
        assert_eq!(*found, Principal { name: "ops".to_owned(), role: Role::Operator, domains });
        assert_eq!(tokens.find(&two.secret).unwrap().domains, Domains::All);
        for wrong in ["", "tdg_", &one.secret[1..], &format!("{} ", one.secret)] {
            assert_eq!(tokens.find(wrong), None, "{wrong:?}");
        }
        assert!(!one.line.contains(&one.secret));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_a_hash() {
        let hash = "0123456789abcdef".repeat(4);
        let cases = [
            ("", "line 1: expected `tokens:`"),
            ("tokens: [", "line 1: "),
            ("users: []", "line 1: the only key"),
            ("tokens: 5", "line 1: 'tokens' must be a list"),
            ("tokens:\n- 5", "line 2: a token is a map"),
            ("tokens:\n- {name: a, role: admin}", "line 2: a token has no 'sha256'"),
            ("tokens:\n- {role: admin, sha256: \"H\"}", "line 2: a token has no 'name'"),
            ("tokens:\n- {name: a, sha256: \"H\"}", "line 2: a token has no 'role'"),
            ("tokens:\n- {name: a, role: root, sha256: \"H\"}", "line 2: 'role' must be"),
            ("tokens:\n- {name: a, role: admin, domains: [], sha256: \"H\"}", "line 2: 'domains' must have 1 to"),
            ("tokens:\n- {name: a, role: admin, domains: api, sha256: \"H\"}", "line 2: 'domains' must be a list"),
            ("tokens:\n- {name: a, role: admin, domains: [\"\"], sha256: \"H\"}", "line 2: a domain is"),
            ("tokens:\n- {name: a b, role: admin, sha256: \"H\"}", "line 2: a name is"),
            ("tokens:\n- {name: a, role: admin, sha256: \"0H\"}", "line 2: 'sha256' must be"),
            ("tokens:\n- {name: a, role: admin, sha256: \"Hé\"}", "line 2: 'sha256' must be"),
            ("tokens:\n- {name: a, role: admin, token: x, sha256: \"H\"}", "line 2: the keys of a token are"),
            (
                "tokens:\n- {name: a, role: admin, sha256: \"H\"}\n- {name: a, role: admin, sha256: \"G\"}",
                "line 3: a second token has the name 'a'",
            ),
            (
                "tokens:\n- {name: a, role: admin, sha256: \"H\"}\n- {name: b, role: admin, sha256: \"H\"}",
                "line 3: a second token has the same sha256",
            ),
            ("tokens: []\ntokens: []", "line 2: 'tokens' is given twice"),
            ("tokens: []\n---\ntokens: []", "line 2: text after"),
        ];
        for (text, expected) in cases {
            let text = text.replace('H', &hash).replace('G', &hash.replace('0', "1"));
            let found = Tokens::read(text.as_bytes()).unwrap_err().to_string();
            assert!(found.starts_with(expected), "{text}: {found}");
            assert!(!found.contains("cdef"), "{found}");
        }
    }
}
