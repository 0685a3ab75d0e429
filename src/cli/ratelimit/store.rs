//! The reference's Redis as a store of shared counters: `REDIS_*` as the value of `--store`.

use std::fmt::Write;

use super::environment::Environment;

/// The flags of the store that these variables name.
///
/// # Errors
/// They name none that can be used.
pub(super) fn flags(environment: &Environment) -> Result<Vec<(&'static str, String)>, String> {
    let url = environment.get("REDIS_URL").ok_or("REDIS_URL is not set, and TIDEGATE_STORE=variables needs it")?;
    let has_tls = environment.truth("REDIS_TLS")?;
    if has_tls && environment.truth("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION")? {
        return Err(
            "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION=true: certificates are verified; give the store one for its \
                    name, and REDIS_TLS_CACERT"
                .to_owned(),
        );
    }
    let scheme = if has_tls { "rediss" } else { "redis" };
    let login = environment.get("REDIS_AUTH").map(login).unwrap_or_default();
    let is_unix = url.starts_with('/') || environment.get("REDIS_SOCKET_TYPE") == Some("unix");
    let store = match environment.get("REDIS_TYPE").unwrap_or("SINGLE").to_ascii_uppercase().as_str() {
        _ if url.contains("://") => url.to_owned(),
        "SINGLE" if is_unix => format!("redis+unix://{login}{url}"),
        "SINGLE" => format!("{scheme}://{login}{url}"),
        "CLUSTER" => format!("{scheme}+cluster://{login}{url}"),
        "SENTINEL" => {
            let (master, nodes) = url.split_once(',').ok_or("REDIS_URL: expected MASTER,HOST:PORT,HOST:PORT")?;
            format!("{scheme}+sentinel://{login}{nodes}/{master}")
        }
        other => return Err(format!("REDIS_TYPE={other}: expected SINGLE, SENTINEL or CLUSTER")),
    };
    let files = [
        ("store-ca", "REDIS_TLS_CACERT"),
        ("store-cert", "REDIS_TLS_CLIENT_CERT"),
        ("store-key", "REDIS_TLS_CLIENT_KEY"),
    ];
    let files = files.into_iter().filter_map(|(flag, name)| Some((flag, environment.get(name)?.to_owned())));
    Ok([("store", store)].into_iter().chain(files.filter(|_| has_tls)).collect())
}

/// `PASSWORD` or `USER:PASSWORD`, as a URL has it before the host.
fn login(auth: &str) -> String {
    let (user, password) = auth.split_once(':').unwrap_or(("", auth));
    format!("{}:{}@", escaped(user), escaped(password))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _written = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_link::StoreUrl;

    fn found(variables: &[(&str, &str)]) -> Result<String, String> {
        let environment = Environment::new(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let flags = flags(&environment)?;
        let url: StoreUrl = flags[0].1.parse().map_err(|error| format!("{error}"))?;
        assert_eq!(url.has_tls, environment.truth("REDIS_TLS").unwrap());
        Ok(flags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn variables_are_a_url() {
        for (variables, expected) in [
            (&[("REDIS_URL", "redis:6379")][..], Some("store=redis://redis:6379")),
            (&[("REDIS_URL", "redis:6379"), ("REDIS_AUTH", "p@ss")], Some("store=redis://:p%40ss@redis:6379")),
            (&[("REDIS_URL", "redis:6379"), ("REDIS_AUTH", "u:p")], Some("store=redis://u:p@redis:6379")),
            (&[("REDIS_URL", "/run/redis.sock")], Some("store=redis+unix:///run/redis.sock")),
            (&[("REDIS_URL", "m,a:1,b:2"), ("REDIS_TYPE", "sentinel")], Some("store=redis+sentinel://a:1,b:2/m")),
            (
                &[
                    ("REDIS_URL", "a:1,b:2"),
                    ("REDIS_TYPE", "CLUSTER"),
                    ("REDIS_TLS", "true"),
                    ("REDIS_TLS_CACERT", "ca"),
                ],
                Some("store=rediss+cluster://a:1,b:2 store-ca=ca"),
            ),
            (&[("REDIS_URL", "a:1"), ("REDIS_TYPE", "RING")], None),
            (&[("REDIS_URL", "a:1"), ("REDIS_TYPE", "SENTINEL")], None),
            (&[], None),
        ] {
            assert_eq!(found(variables).ok().as_deref(), expected, "{variables:?}");
        }
    }
}
