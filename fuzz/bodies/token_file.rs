//! Any bytes as a file of tokens: an error with a line that exists and without a hash, or tokens, never a panic.

/// Plays one input.
pub(crate) fn run(text: &[u8]) {
    match tidegate::fuzzed::tokens(text) {
        Ok(count) => assert!(count <= 1_000, "{count} tokens"),
        Err(error) => {
            let lines = text.iter().filter(|&&byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            let line = error.strip_prefix("line ").and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
            assert!(line.is_some_and(|line| (1..=lines + 1).contains(&line)), "{error}");
            let is_digit = |byte: u8| byte.is_ascii_hexdigit();
            let longest = error.as_bytes().split(|byte| !is_digit(*byte)).map(<[u8]>::len).max();
            assert!(longest < Some(64), "a hash: {error}");
        }
    }
}
