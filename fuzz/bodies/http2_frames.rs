//! Frames of HTTP/2 to our own connection: whatever comes, wherever it is cut, the same happens and the same is sent, and there is little of it.

/// Plays one input: a byte for the size of pieces, and what [`client`] reads.
pub(crate) fn run(input: &[u8]) {
    let Some((size, frames)) = input.split_first() else { return };
    let (mut sent, rest) = client(frames);
    // The beginning of a frame, or of anything else.
    sent.extend_from_slice(rest);
    let whole = tidegate::fuzzed::http2([sent.as_slice()]);
    assert_eq!(whole, tidegate::fuzzed::http2(sent.chunks(usize::from(*size) + 1)), "pieces of {}", usize::from(*size) + 1);
    // The most for a frame: an answer, a reset and two windows for one without content.
    assert!(whole.1.len() <= 100 + 12 * sent.len(), "{} bytes for {}", whole.1.len(), sent.len());
}

/// What a client sends: the opening of a connection, then frames, each with a byte for its kind, its flags, its stream, and the length of its payload
/// (from 0xf0 on: a multiple of 1,024). Returns what is left over, too.
pub(crate) fn client(frames: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut rest = frames;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    while let Some(([kind, flags, stream, length], after)) = rest.split_first_chunk() {
        let length = usize::from(*length);
        let length = if length < 0xf0 { length } else { (length - 0xef) * 1_024 };
        let payload = &after[..length.min(after.len())];
        let [.., a, b, c] = length.to_be_bytes();
        sent.extend_from_slice(&[a, b, c, *kind, *flags, 0, 0, 0, *stream]);
        sent.extend_from_slice(payload);
        sent.extend(std::iter::repeat_n(b'a', length - payload.len()));
        rest = &after[payload.len()..];
    }
    (sent, rest)
}
