//! Any bytes as a file of clients, and after NULs names of a client: an error with a line that exists, or domains; who has no name has
//! none.

/// Plays one input.
pub(crate) fn run(input: &[u8]) {
    let mut parts = input.split(|&byte| byte == 0);
    let text = parts.next().unwrap_or_default();
    let mut names = parts.take(8).map(|name| String::from_utf8_lossy(name).into_owned());
    let (uris, dns): (Vec<_>, Vec<_>) = (names.by_ref().take(4).collect(), names.collect());
    match tidegate::fuzzed::clients(text, uris.clone(), dns.clone()) {
        Ok(_) => {
            assert_eq!(tidegate::fuzzed::clients(text, Vec::new(), Vec::new()).as_deref(), Ok("none"));
            // A name that is neither a URI nor a DNS name matches nothing.
            let odd = vec!["\u{1}".to_owned()];
            assert_eq!(tidegate::fuzzed::clients(text, odd.clone(), odd).as_deref(), Ok("none"));
        }
        Err(error) => {
            let lines = text.iter().filter(|&&byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            let line = error.strip_prefix("line ").and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
            assert!(line.is_some_and(|line| (1..=lines + 1).contains(&line)), "{error}");
            assert_eq!(
                tidegate::fuzzed::clients(text, uris, dns),
                Err(error),
                "an error does not depend on the client"
            );
        }
    }
}
