//! The same bytes to our own HTTP/2 connection and to that of the `h2` crate: the same requests have the same headers and are answered with the same
//! bodies, the same streams are reset, and both or neither end the connection with an error.
//!
//! Permitted differences:
//! - The codes of errors: the crate says PROTOCOL_ERROR for most. Only whether there is one is compared.
//! - One may end the connection for what the other takes for an error of one stream, as the RFC allows: the crate for names of headers with upper case
//!   and data of a closed stream, ours for PRIORITY of a stream that depends on itself.
//! - Where either has ended, what came before may be answered or not: the crate drops answers that are not sent.
//! - After GOAWAY of the client the crate ends when no stream is open; we go on reading until the client closes.
//! - The crate ends the connection for a GOAWAY that names a later stream than the one before; we do not read what a GOAWAY of the client says.
//! - Nothing is compared when either says ENHANCE_YOUR_CALM, because each counts other things: ours errors of streams and the frames of a header
//!   block, the crate empty DATA frames (which `net::frames` counts here).
//! - What a header block means does not depend on how it is divided into frames, so the crate gets each in one frame. It decodes the parts one by one: it
//!   leaves out headers without a name except in the last one, forgets what was malformed in those before, and takes a change of the table's size at the
//!   beginning of each.
//! - The crate does not decode headers that depend on themselves, so that its table may be another one from there on: nothing comes after them.
//! - Headers that are too large are answered with 431 by both, but by the crate only if they are well-formed. What is left of such a request is rejected
//!   with a code or without.
//! - The crate takes requests with no `:path` or one without `/`, with an empty `content-length`, and with pseudo-header fields among the trailers, all of
//!   which the RFC calls malformed; and trailers that are too large. It drops whatever follows `#` in a path, so control characters, too.
//! - It takes none whose method, scheme, authority or path are none for the `http` crate, and none whose `content-length` has more than 19 digits.
//! - The crate ends the connection for a WINDOW_UPDATE of 0 for a stream that is closed, which we ignore.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tidegate::fuzzed::Header;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http2_frames::{CONTINUATION, END_HEADERS, HEADERS, WINDOW_UPDATE, client, pieces};

/// Plays one input: frames as in `http2_frames`, from the second byte on.
pub(crate) fn run(input: &[u8]) {
    let Some((_, frames)) = input.split_first() else { return };
    let (mut sent, _) = client(frames);
    if sent.len() > WINDOW {
        // Whether a window is exceeded depends on when bodies are read.
        return;
    }
    end_block(&mut sent);
    let (sent, whole_blocks, longest) = divided_and_whole(&sent);
    let tidegate::fuzzed::Played { events, sent: answers, headers } = tidegate::fuzzed::http2(pieces(&sent));
    let (theirs, has_left, their_headers) = h2_server(&whole_blocks, longest);
    for (stream, ours) in headers {
        if let Some(theirs) = their_headers.get(&stream) {
            assert_eq!(in_order(ours), *theirs, "{stream}");
        }
    }
    let (ours, theirs) = (Outcome::new(&answers), Outcome::new(&theirs));
    let has_left = has_left && !theirs.has_failed;
    if has_left || ours.is_calmed || theirs.is_calmed || events.iter().any(|event| event.ends_with(" odd")) {
        return;
    }
    if ours.has_failed || theirs.has_failed {
        let has_difference = || {
            !ours.reset.is_empty()
                || !ours.too_large.is_empty()
                || pieces(&sent).any(is_empty_update)
                || has_later_goaway(&sent)
        };
        let is_permitted =
            ours.has_failed && (theirs.has_failed || !theirs.reset.is_empty()) || theirs.has_failed && has_difference();
        assert!(is_permitted, "ours {ours:?} {events:?}\ntheirs {theirs:?}");
        return;
    }
    let may_be_taken = |stream: &u32| {
        let of_stream = |frame: &&[u8]| frame[3] == HEADERS && frame[5..9] == stream.to_be_bytes();
        let has_trailers = pieces(&sent).skip(1).filter(of_stream).count() > 1;
        has_trailers || whole_blocks.contains(&b'#')
    };
    let different: BTreeSet<u32> =
        ours.reset.iter().copied().filter(may_be_taken).chain(ours.too_large.iter().copied()).collect();
    assert_eq!(ours.without(&different), theirs.without(&different), "{events:?}");
}

/// The frames as they are, up to headers that depend on themselves; and the same with each header block in one frame, and how long that may be.
fn divided_and_whole(sent: &[u8]) -> (Vec<u8>, Vec<u8>, u32) {
    let (mut divided, mut whole, mut longest) = (Vec::new(), Vec::new(), MAX_FRAME);
    let frames: Vec<&[u8]> = pieces(sent).collect();
    let mut rest = frames.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let (continuations, after) = others.split_at(continuations(first, others));
        rest = after;
        divided.extend_from_slice(first);
        divided.extend(continuations.concat());
        if continuations.is_empty() {
            whole.extend_from_slice(first);
        } else {
            let parts: Vec<u8> = continuations.iter().flat_map(|frame| &frame[9..]).copied().collect();
            let end = first.len() - padding(first);
            let length = u32::try_from(first.len() - 9 + parts.len()).unwrap();
            longest = longest.max(length);
            whole.extend_from_slice(&length.to_be_bytes()[1..]);
            whole.extend_from_slice(&[HEADERS, first[4] | END_HEADERS]);
            whole.extend([&first[5..end], &parts, &first[end..]].concat());
        }
        let is_complete = first[4] & END_HEADERS != 0 || !continuations.is_empty();
        if is_complete && depends_on_itself(first) {
            break;
        }
    }
    (divided, whole, longest)
}

/// How many of the frames after this one, of HEADERS, are the rest of its block; 0 if it has no end.
fn continuations(first: &[u8], others: &[&[u8]]) -> usize {
    let is_short = |frame: &[u8]| u32::try_from(frame.len()).is_ok_and(|length| length <= 9 + MAX_FRAME);
    let has_block = first[3] == HEADERS && padding(first) + block_start(first) <= first.len() && is_short(first);
    if !has_block || first[4] & END_HEADERS != 0 {
        return 0;
    }
    let is_next = |frame: &&&[u8]| frame[3] == CONTINUATION && frame[5..9] == first[5..9] && is_short(frame);
    let mut same = others.iter().take_while(is_next);
    same.position(|frame| frame[4] & END_HEADERS != 0).map_or(0, |last| last + 1)
}

/// Where the block of a HEADERS frame begins, if the frame is long enough.
fn block_start(frame: &[u8]) -> usize {
    9 + usize::from(frame[4] & PADDED != 0) + if frame[4] & PRIORITY == 0 { 0 } else { 5 }
}

/// The length of its padding.
fn padding(frame: &[u8]) -> usize {
    if frame[4] & PADDED == 0 { 0 } else { frame.get(9).map_or(0, |length| usize::from(*length)) }
}

fn depends_on_itself(frame: &[u8]) -> bool {
    let dependency = block_start(frame) - 5;
    let is_dependent = frame[3] == HEADERS && frame[4] & PRIORITY != 0;
    is_dependent && frame.get(dependency..dependency + 4).is_some_and(|on| stream_id(on) == stream_id(&frame[5..9]))
}

/// Its first bit is another flag, or reserved.
fn stream_id(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap()) & 0x7fff_ffff
}

fn is_empty_update(frame: &[u8]) -> bool {
    // The first bit is reserved.
    frame.get(3) == Some(&WINDOW_UPDATE) && matches!(frame.get(9..), Some([0 | 0x80, 0, 0, 0]))
}

/// Whether a GOAWAY names a later stream than the one before.
fn has_later_goaway(sent: &[u8]) -> bool {
    let goaways = pieces(sent).filter(|frame| frame.get(3) == Some(&GOAWAY));
    let last = goaways.filter_map(|frame| frame.get(9..13)).map(|last| [last[0] & 0x7f, last[1], last[2], last[3]]);
    !last.is_sorted_by(|before, after| before >= after)
}

/// Ends a header block at the end.
fn end_block(sent: &mut Vec<u8>) {
    let mut open = None;
    for frame in pieces(sent).filter(|frame| frame.len() >= 9) {
        if matches!(frame[3], HEADERS | PUSH_PROMISE | CONTINUATION) {
            open = (frame[4] & END_HEADERS == 0).then(|| <[u8; 4]>::try_from(&frame[5..9]).unwrap());
        }
    }
    if let Some(stream) = open {
        sent.extend_from_slice(&[0, 0, 0, CONTINUATION, END_HEADERS]);
        sent.extend_from_slice(&stream);
    }
}

/// The longest payload of a frame.
const MAX_FRAME: u32 = 16_384;

const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];

/// That of streams, and so the most that is compared.
const WINDOW: usize = 20_000;

/// What a server has sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Streams with a complete answer, and its body.
    answered: BTreeMap<u32, Vec<u8>>,
    reset: BTreeSet<u32>,
    /// Streams that were answered with nothing but headers: 431, because those of the request are too large.
    too_large: BTreeSet<u32>,
    has_failed: bool,
    is_calmed: bool,
}

impl Outcome {
    fn new(mut sent: &[u8]) -> Self {
        let mut outcome = Self::default();
        let (mut begun, mut bodies): (BTreeSet<u32>, BTreeMap<u32, Vec<u8>>) = Default::default();
        while let Some(([a, b, c, kind, flags, stream @ ..], rest)) = sent.split_first_chunk::<9>() {
            let kind = *kind;
            let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            sent = rest;
            let stream = u32::from_be_bytes(*stream);
            let code = payload.get(..4).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap()));
            let body = bodies.entry(stream).or_default();
            match kind {
                0 => body.extend_from_slice(payload),
                // NO_ERROR: the answer is complete, and the rest of the request not needed.
                3 if code != 0 => drop(outcome.reset.insert(stream)),
                GOAWAY => {
                    outcome.has_failed |= payload[4..8] != [0; 4];
                    outcome.is_calmed |= payload[4..8] == ENHANCE_YOUR_CALM;
                }
                _ => {}
            }
            let has_trailers = kind == HEADERS && !begun.insert(stream);
            if matches!(kind, 0 | 1) && flags & 1 != 0 {
                outcome.answered.insert(stream, std::mem::take(body));
                if kind == HEADERS && !has_trailers {
                    outcome.too_large.insert(stream);
                }
            }
        }
        outcome
    }

    /// Without these streams.
    fn without(mut self, streams: &BTreeSet<u32>) -> Self {
        self.answered.retain(|stream, _| !streams.contains(stream));
        self.reset.retain(|stream| !streams.contains(stream));
        self.too_large.clear();
        self
    }
}

/// Everything that a server on the `h2` crate sends to a client that sends this and then waits, with the limits of `fuzzed::http2`; and
/// whether it has left. No clock and no socket: a frame arrives when nothing happens any more, because what windows allow depends on the order of frames and answers.
fn h2_server(sent: &[u8], longest: u32) -> (Vec<u8>, bool, Headers) {
    let headers = Rc::new(RefCell::new(Headers::new()));
    let wire = Arc::new(Mutex::new(Wire { input: Bytes::new(), output: Vec::new() }));
    let mut builder = h2::server::Builder::new();
    // It takes lists that are smaller than that.
    builder.max_concurrent_streams(8).max_header_list_size((16 << 10) + 1).initial_window_size(20_000);
    builder.max_frame_size(longest);
    let mut serve = Box::pin(serve(builder, Client(Arc::clone(&wire)), Rc::clone(&headers)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut has_left = false;
    'frames: for piece in pieces(sent) {
        wire.lock().unwrap().input = Bytes::copy_from_slice(piece);
        let (mut before, mut quiet) = ((0, 0), 0);
        while quiet < QUIET_ROUNDS {
            if serve.as_mut().poll(&mut cx).is_ready() {
                has_left = true;
                break 'frames;
            }
            let wire = wire.lock().unwrap();
            let now = (wire.input.len(), wire.output.len());
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
    }
    let sent = std::mem::take(&mut wire.lock().unwrap().output);
    (sent, has_left, headers.take())
}

/// The headers of requests by stream, by name and value.
type Headers = BTreeMap<u32, Vec<Header>>;

/// By name and value, because a map of headers keeps only the order of those with one name.
fn in_order(mut headers: Vec<Header>) -> Vec<Header> {
    headers.sort();
    headers
}

/// How often all is polled without a byte read or written before it is over.
const QUIET_ROUNDS: usize = 3;

async fn serve(builder: h2::server::Builder, client: Client, headers: Rc<RefCell<Headers>>) {
    let Ok(mut connection) = builder.handshake::<_, Bytes>(client).await else { return };
    let mut answers: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    std::future::poll_fn(|cx| {
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let all = request.headers().iter();
                    let all = all.map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()));
                    headers.borrow_mut().insert(respond.stream_id().as_u32(), in_order(all.collect()));
                    answers.push(Box::pin(echo(request, respond)));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        answers.retain_mut(|answer| answer.as_mut().poll(cx).is_pending());
        Poll::Pending
    })
    .await;
}

async fn echo(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes().to_vec();
    let has_target = match head.method {
        http::Method::CONNECT => head.uri.authority().is_some(),
        _ => !head.uri.path().is_empty() && (path.first() == Some(&b'/') || path == b"*"),
    };
    let is_malformed =
        !has_target || head.headers.get(http::header::CONTENT_LENGTH).is_some_and(http::HeaderValue::is_empty);
    if is_malformed {
        // What is dropped is reset.
        return;
    }
    let mut content = Vec::new();
    let is_whole = body.is_end_stream();
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return };
        let _ended = body.flow_control().release_capacity(piece.len());
        content.extend_from_slice(&piece);
    }
    if is_whole {
        content = path;
    }
    let Ok(mut stream) = respond.send_response(http::Response::new(()), false) else { return };
    let _gone = stream.send_data(content.into(), true);
    // As long as the windows do not allow all of it.
    let _reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
}

/// What the client has sent and was not read, and what the server has sent.
#[derive(Debug)]
struct Wire {
    input: Bytes,
    output: Vec<u8>,
}

/// The client as the server sees it: it sends everything at once, and reads everything.
#[derive(Debug)]
struct Client(Arc<Mutex<Wire>>);

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock().unwrap();
        if wire.input.is_empty() {
            return Poll::Pending;
        }
        let count = wire.input.len().min(buffer.remaining());
        buffer.put_slice(&wire.input.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
