//! Any bytes as certificate, key and CA of clients, divided by NULs: an error that quotes none of them, or an instant, never a panic.

/// Plays one input.
pub(crate) fn run(input: &[u8]) {
    let mut parts = input.splitn(3, |&byte| byte == 0);
    let (cert, key) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Err(error) = tidegate::fuzzed::pem(cert, key, parts.next()) {
        assert!(error.starts_with("cert ") || error.starts_with("key ") || error.starts_with("client_ca "), "{error}");
        let is_base64 = |line: &&[u8]| line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
        let long_lines = key.split(|&byte| byte == b'\n').filter(|line| line.len() >= 24).filter(is_base64);
        for line in long_lines.filter_map(|line| std::str::from_utf8(line).ok()) {
            assert!(!error.contains(line), "a part of the key: {error}");
        }
    }
}
