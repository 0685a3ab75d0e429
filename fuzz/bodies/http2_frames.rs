//! Frames of HTTP/2 to our own connection: whatever comes, wherever it is cut, the same happens and the same is sent, and there is little of it.

#[path = "http2_blocks.rs"]
mod blocks;

/// Plays one input: a byte for the size of pieces, and what [`client`] reads.
pub(crate) fn run(input: &[u8]) {
    let Some((size, frames)) = input.split_first() else { return };
    let (mut sent, rest) = client(frames);
    // The beginning of a frame, or of anything else.
    sent.extend_from_slice(rest);
    let most = usize::from(*size) + 1;
    let whole = tidegate::fuzzed::http2([sent.as_slice()]);
    let pieces = tidegate::fuzzed::http2(sent.chunks(most));
    // Without the preface and the SETTINGS of the opening.
    let mut frames = self::pieces(&sent).skip(2).filter(|frame| frame.len() >= 9);
    let depends_on_windows = frames.any(|frame| matches!(frame[3], SETTINGS | WINDOW_UPDATE));
    if depends_on_windows {
        // What waits for windows is looked at once for each read, so whether a stream is open for what follows in a read may depend on its end. If each
        // read ends with its frame it does not.
        let frames = tidegate::fuzzed::http2(self::pieces(&sent));
        let pieces = tidegate::fuzzed::http2(self::pieces(&sent).flat_map(|frame| frame.chunks(most)));
        assert_eq!(frames, pieces, "pieces of {most}");
    } else {
        assert_eq!(whole, pieces, "pieces of {most}");
    }
    // The most for a frame: an answer, a reset and two windows for one without content. Answers repeat paths, which a few bytes may refer to.
    let paths: usize = whole.events.iter().map(String::len).sum();
    assert!(whole.sent.len() <= 100 + 12 * sent.len() + paths, "{} bytes for {}", whole.sent.len(), sent.len());
}

/// The opening of the connection, and its frames.
pub(crate) fn pieces(sent: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = sent;
    std::iter::from_fn(move || {
        let length = if rest.starts_with(b"PRI ") { PREFACE_BYTES } else { frame_bytes(rest) };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The bytes of the frame at the beginning.
fn frame_bytes(bytes: &[u8]) -> usize {
    let [a, b, c, ..] = *bytes else { return bytes.len() };
    9 + usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()
}

const PREFACE_BYTES: usize = 24;

/// What a client sends: the opening of a connection, then frames, each with a byte for its kind, its flags, its stream, and the length of its payload
/// (from 0xf0 on: a multiple of 1,024). From the kind 0xf0 on the payload is what [`blocks`] makes headers of. Returns what is left over, too.
pub(crate) fn client(frames: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut rest = frames;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    while let Some(([kind, flags, stream, length], after)) = rest.split_first_chunk() {
        let length = usize::from(*length);
        let length = if length < 0xf0 { length } else { (length - 0xef) * 1_024 };
        let payload = &after[..length.min(after.len())];
        rest = &after[payload.len()..];
        if *kind >= BLOCK {
            put_block(&mut sent, *flags, *stream, payload);
        } else {
            put_head(&mut sent, length, [*kind, *flags, *stream]);
            sent.extend_from_slice(payload);
            sent.extend(std::iter::repeat_n(b'a', length - payload.len()));
        }
    }
    (sent, rest)
}

/// A HEADERS frame, and the CONTINUATION frames that it needs; without priority and padding.
fn put_block(sent: &mut Vec<u8>, flags: u8, stream: u8, payload: &[u8]) {
    let parts = blocks::parts(payload);
    let (last, mut kind) = (parts.len() - 1, HEADERS);
    for (index, part) in parts.iter().enumerate() {
        let end = if kind == HEADERS { flags & END_STREAM } else { 0 } | if index == last { END_HEADERS } else { 0 };
        put_head(sent, part.len(), [kind, end, stream]);
        sent.extend_from_slice(part);
        kind = CONTINUATION;
    }
}

fn put_head(sent: &mut Vec<u8>, length: usize, [kind, flags, stream]: [u8; 3]) {
    let [.., a, b, c] = length.to_be_bytes();
    sent.extend_from_slice(&[a, b, c, kind, flags, 0, 0, 0, stream]);
}

/// The first kind whose payload headers are made of.
const BLOCK: u8 = 0xf0;
pub(crate) const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
