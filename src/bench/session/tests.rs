//! A session with simulated servers: on virtual time, and with arbitrary frames.

mod h2_server;

use proptest::prelude::*;
use prost::Message;

use super::super::schedule::{Arrivals, Pace};
use super::super::traffic::{Popularity, Traffic};
use super::*;
use crate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::DescriptorStatus;
use crate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use crate::http2::frame::PADDED;
use crate::http2::hpack::put_literal;

const MS: u64 = 1_000_000;

/// A session with everything that it needs.
struct Client {
    session: Session,
    schedule: Schedule,
    template: Template,
    picks: Picks,
    stats: Stats,
}

impl Client {
    fn new(streams: usize, pace: Pace, descriptors: usize) -> Self {
        let (popularity, domain) = (Popularity::Uniform, "bench".to_owned());
        let traffic = Traffic { domain, descriptors, entries: 3, keys: 1_000, popularity, over_limit: 0.0 };
        Self {
            session: Session::new(streams),
            schedule: Schedule::new(pace, 0, 1, 10_000 * MS, 0),
            template: Template::new(&traffic, "host:1", false),
            picks: Picks::new(&traffic, 1).unwrap(),
            stats: Stats::new(0, u64::MAX),
        }
    }

    fn closed(streams: usize) -> Self {
        let mut client = Self::new(streams, Pace::Closed, 1);
        client.receive(&settings(&[]), 0).unwrap();
        client
    }

    fn receive(&mut self, bytes: &[u8], now_ns: u64) -> Result<usize, Violation> {
        self.session.receive(bytes, now_ns, &mut self.stats)
    }

    fn fill(&mut self, now_ns: u64) {
        self.session.fill(now_ns, &mut self.schedule, &mut self.template, &mut self.picks);
    }

    /// Takes the frames to send, after the preface.
    fn send(&mut self) -> Vec<(Head, Vec<u8>)> {
        let pending = self.session.pending().to_vec();
        self.session.sent(pending.len());
        let mut rest = pending.strip_prefix(PREFACE).unwrap_or(&pending);
        let mut frames = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk() {
            let head = Head::read(*head);
            frames.push((head, after[..head.length].to_vec()));
            rest = &after[head.length..];
        }
        frames
    }

    /// The numbers of the streams that were opened since the last time.
    fn opened(&mut self) -> Vec<u32> {
        self.send().iter().filter(|(head, _)| head.kind == HEADERS).map(|(head, _)| head.stream).collect()
    }

    fn failures(&self) -> Vec<(Failure, u64, &str)> {
        self.stats.failures.iter().map(|(failure, (count, said))| (*failure, *count, said.as_str())).collect()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, kind, flags, stream, payload);
    out
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let bytes = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &settings.iter().flat_map(bytes).collect::<Vec<_>>())
}

fn trailers(status: u16) -> Vec<u8> {
    let mut block = Vec::new();
    put_literal(&mut block, false, None, "grpc-status", &status.to_string());
    put_literal(&mut block, false, None, "grpc-message", "because");
    block
}

fn message(code: i32) -> Vec<u8> {
    let statuses = vec![DescriptorStatus { code, ..DescriptorStatus::default() }];
    let message = RateLimitResponse { overall_code: code, statuses, ..RateLimitResponse::default() }.encode_to_vec();
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

/// A whole answer.
fn answer(stream: u32, code: i32) -> Vec<u8> {
    [
        frame(HEADERS, END_HEADERS, stream, &[0x88]),
        frame(DATA, 0, stream, &message(code)),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers(0)),
    ]
    .concat()
}

#[test]
fn each_answer_makes_room_for_a_check() {
    let mut client = Client::closed(3);
    client.fill(5);
    assert_eq!(client.opened(), [1, 3, 5]);
    client.fill(6);
    assert!(client.opened().is_empty());
    let answers = [answer(3, 1), answer(1, 2)].concat();
    assert_eq!(client.receive(&answers, 105), Ok(answers.len()));
    client.fill(105);
    assert_eq!(client.opened(), [7, 9]);
    assert_eq!((client.stats.ok, client.stats.over_limit, client.stats.errors()), (1, 1, 0));
    assert_eq!((client.stats.latency_ns.min(), client.stats.latency_ns.max()), (100, 100));
}

#[test]
fn an_answer_may_arrive_byte_by_byte_and_in_pieces_of_any_kind() {
    let whole = message(2);
    let (first, last) = whole.split_at(7);
    let block = trailers(0);
    let pieces = [
        frame(HEADERS, PADDED | PRIORITY, 1, &[&[3][..], &[0; 5], &[0x88], &[0; 3]].concat()),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
        frame(0x7f, 0xff, 1, b"unknown kinds are ignored"),
        frame(DATA, 0, 1, &first[..3]),
        frame(DATA, PADDED, 1, &[&[2][..], &first[3..], &[0, 0]].concat()),
        frame(PING, 0, 0, b"12345678"),
        frame(DATA, 0, 1, last),
        frame(DATA, 0, 1, &[]),
        frame(HEADERS, END_STREAM, 1, &block[..4]),
        frame(CONTINUATION, END_HEADERS, 1, &block[4..]),
    ]
    .concat();
    for step in [1, 2, 10, pieces.len()] {
        let mut client = Client::closed(1);
        client.fill(0);
        client.send();
        let mut unread = Vec::new();
        for bytes in pieces.chunks(step) {
            unread.extend_from_slice(bytes);
            let taken = client.receive(&unread, 9).unwrap();
            unread.drain(..taken);
        }
        assert_eq!((unread.len(), client.stats.over_limit, client.stats.errors()), (0, 1, 0), "{step}");
        assert_eq!(client.send(), [(Head { length: 8, kind: PING, flags: ACK, stream: 0 }, b"12345678".to_vec())]);
    }
}

#[test]
fn every_failure_is_reported_by_its_kind() {
    let opened = || frame(HEADERS, END_HEADERS, 1, &[0x88]);
    let ended = |status| frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers(status));
    let data = |bytes: &[u8]| frame(DATA, 0, 1, bytes);
    let only = [&[0x88], &trailers(12)[..]].concat();
    let compressed = [&[1], &message(1)[1..]].concat();
    let malformed = |said| (Failure::Malformed, said);
    let cases = [
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, &only), (Failure::Grpc(12), "because")),
        ([opened(), data(&message(1)), ended(14)].concat(), (Failure::Grpc(14), "because")),
        ([opened(), ended(999)].concat(), (Failure::Grpc(17), "because")),
        (frame(HEADERS, END_HEADERS, 1, &[0x8d]), (Failure::Http(404), "")),
        (frame(RST_STREAM, 0, 1, &7_u32.to_be_bytes()), (Failure::Reset(7), "")),
        (frame(RST_STREAM, 0, 1, &u32::MAX.to_be_bytes()), (Failure::Reset(14), "")),
        (frame(GOAWAY, 0, 0, &[0; 8]), (Failure::GoingAway, "")),
        ([opened(), data(&message(0)), ended(0)].concat(), (Failure::NoCode, "")),
        ([opened(), ended(0)].concat(), malformed("the message is incomplete")),
        ([opened(), data(&message(1)[..6]), ended(0)].concat(), malformed("the message is incomplete")),
        ([opened(), data(&message(1)), data(&message(1))].concat(), malformed("the answer has more than one message")),
        ([opened(), data(&compressed)].concat(), malformed("the message is compressed, which was not requested")),
        ([opened(), data(&[0, 0, 0, 0, 1, 0x08])].concat(), malformed("message ends in the middle of a field")),
        (data(&message(1)), malformed("the answer begins without headers")),
        (
            [opened(), frame(DATA, END_STREAM, 1, &message(1))].concat(),
            malformed("the answer ends without a gRPC status"),
        ),
        (
            [opened(), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[])].concat(),
            malformed("the answer ends without a gRPC status"),
        ),
    ];
    for (bytes, (failure, said)) in cases {
        let mut client = Client::closed(1);
        client.fill(0);
        client.send();
        assert_eq!(client.receive(&bytes, 1), Ok(bytes.len()), "{failure:?}");
        assert_eq!(client.failures(), [(failure, 1, said)]);
        assert_eq!((client.stats.checks(), client.session.under_way()), (1, 0));
        // Further frames of that stream are accepted, whatever they contain.
        let later = [frame(RST_STREAM, 0, 1, &[0; 4]), answer(1, 1)].concat();
        assert_eq!(client.receive(&later, 2), Ok(later.len()));
        assert_eq!(client.stats.checks(), 1);
    }
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    let cases = [
        (frame(DATA, 0, 0, &[]), "never opened"),
        (frame(DATA, 0, 2, &[]), "never opened"),
        (frame(DATA, PADDED, 1, &[1]), "padding"),
        (frame(DATA, 0, 1, &vec![0; DEFAULT_MAX_FRAME + 1]), "longer than allowed"),
        (frame(HEADERS, END_HEADERS, 3, &[0x88]), "never opened"),
        (frame(HEADERS, END_HEADERS | PRIORITY, 1, &[0; 4]), "too short"),
        (frame(HEADERS, END_HEADERS, 1, &[0xbe]), "table"),
        (frame(HEADERS, END_HEADERS, 1, &trailers(0)), "without a status"),
        ([frame(HEADERS, 0, 1, &[]), frame(PING, 0, 0, &[0; 8])].concat(), "interrupted"),
        ([frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 3, &[])].concat(), "interrupted"),
        (frame(CONTINUATION, 0, 1, &[]), "without a header block"),
        (
            [frame(HEADERS, 0, 1, &[0; 16_000]), frame(CONTINUATION, 0, 1, &[0; 16_000]).repeat(4)].concat(),
            "longer than 64 KiB",
        ),
        ([frame(HEADERS, END_HEADERS, 1, &[0x88]), frame(HEADERS, END_HEADERS, 1, &[])].concat(), "do not end"),
        (frame(PING, 0, 0, &[0; 7]), "PING"),
        (frame(PING, 0, 0, &[0; 8]).repeat(40_000), "acknowledgements"),
        (frame(SETTINGS, 0, 0, &[0; 7]), "SETTINGS"),
        (settings(&[(SETTINGS_MAX_FRAME_SIZE, 16_383)]), "out of bounds"),
        (settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 1 << 31)]), "out of bounds"),
        (frame(PUSH_PROMISE, 0, 1, &[]), "push is disabled"),
        (frame(GOAWAY, 0, 0, &[0; 3]), "GOAWAY"),
        (frame(RST_STREAM, 0, 1, &[0; 3]), "RST_STREAM"),
        (frame(WINDOW_UPDATE, 0, 0, &[0; 3]), "WINDOW_UPDATE"),
        (frame(WINDOW_UPDATE, 0, 0, &[0; 4]), "of 0"),
        (frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), "beyond the maximum"),
    ];
    for (bytes, word) in cases {
        let mut client = Client::closed(1);
        client.fill(0);
        client.send();
        let violation = client.receive(&bytes, 1).unwrap_err();
        assert!(violation.contains(word), "{violation}, not {word}");
    }
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], &frame(PING, 0, 0, &[0; 8]), &frame(SETTINGS, ACK, 0, &[])] {
        let mut client = Client::new(1, Pace::Closed, 1);
        assert!(client.receive(bytes, 0).unwrap_err().contains("not HTTP/2"));
    }
}

#[test]
fn a_stalled_server_is_charged_for_every_check_that_was_due() {
    let mut client = Client::new(4, Pace::Open { rate: 1_000.0, arrivals: Arrivals::Even }, 1);
    client.receive(&settings(&[]), 0).unwrap();
    // Answers at once for 100 ms, stalls until 1,100 ms, and then answers everything at once.
    for now in 0..100 {
        client.fill(now * MS);
        for stream in client.opened() {
            client.receive(&answer(stream, 1), now * MS).unwrap();
        }
    }
    for now in 100..1_100 {
        client.fill(now * MS);
    }
    let mut late = client.opened();
    assert_eq!(late.len(), 4, "the others wait in the schedule");
    while !late.is_empty() {
        for stream in late {
            client.receive(&answer(stream, 1), 1_100 * MS).unwrap();
        }
        client.fill(1_100 * MS);
        late = client.opened();
    }
    // 100 without a wait, then 1,000 that waited for 1,000 ms, 999 ms ... 1 ms, and the one due at the end.
    let latency = &client.stats.latency_ns;
    assert_eq!((client.stats.ok, latency.count_at(0), latency.len()), (1_101, 101, 1_101));
    assert!(latency.equivalent(latency.max(), 1_000 * MS));
    for (quantile, expected) in [(51.0, 100 + 1), (551.0, 450), (1_000.0, 899), (1_091.0, 990)] {
        // The n-th of 1,101 waited n - 101 ms.
        let waited = latency.value_at_quantile((quantile - 0.5) / 1_101.0);
        let expected = if quantile <= 101.0 { 0 } else { expected * MS };
        assert!(latency.equivalent(waited, expected), "{quantile}: {waited}, not {expected}");
    }
}

#[test]
fn what_the_peer_allows_is_kept() {
    let mut client = Client::new(100, Pace::Closed, 1);
    client.fill(0);
    assert!(client.opened().is_empty(), "the peer has not greeted");
    client.receive(&settings(&[(SETTINGS_MAX_CONCURRENT_STREAMS, 2)]), 0).unwrap();
    client.fill(0);
    assert_eq!(client.opened().len(), 2);
    client.receive(&settings(&[(SETTINGS_MAX_CONCURRENT_STREAMS, 5)]), 0).unwrap();
    client.fill(0);
    assert_eq!(client.opened().len(), 3);
}

#[test]
fn a_long_message_goes_out_as_the_windows_allow() {
    let mut client = Client::new(2, Pace::Closed, 500);
    let body = client.template.body_bytes();
    assert!(body > 20_000, "longer than a frame: {body}");
    client.receive(&settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 10)]), 0).unwrap();
    client.fill(0);
    let mut sent = Vec::new();
    let mut data = |client: &mut Client| {
        let before = sent.len();
        for (head, payload) in client.send().into_iter().filter(|(head, _)| head.kind == DATA) {
            assert!(head.length <= DEFAULT_MAX_FRAME && head.stream == 1);
            sent.extend_from_slice(&payload);
            assert_eq!(head.has(END_STREAM), sent.len() == body);
        }
        (sent.len() - before, sent.clone())
    };
    assert_eq!(data(&mut client).0, 10);
    client.receive(&settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 30)]), 0).unwrap();
    assert_eq!(data(&mut client).0, 20, "a larger initial window opens those there are");
    client.receive(&frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 9]), 0).unwrap();
    assert_eq!(data(&mut client).0, 0, "another stream's");
    client.receive(&frame(WINDOW_UPDATE, 0, 1, &100_000_u32.to_be_bytes()), 0).unwrap();
    let (count, sent) = data(&mut client);
    assert_eq!(count, body - 30);
    assert_eq!(RateLimitRequest::decode(&sent[5..]).unwrap().descriptors.len(), 500);
    // The window of the connection is enough for three of them.
    let mut client = Client::new(100, Pace::Closed, 500);
    client.receive(&settings(&[]), 0).unwrap();
    client.fill(0);
    let bytes = |client: &mut Client| {
        client.send().iter().filter(|(head, _)| head.kind == DATA).map(|(head, _)| head.length).sum::<usize>()
    };
    assert_eq!(bytes(&mut client), 65_535);
    client.fill(0);
    assert_eq!(bytes(&mut client), 0);
    client.receive(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 200]), 0).unwrap();
    assert_eq!(bytes(&mut client), 200);
}

#[test]
fn headers_are_reported_once_to_a_server_that_remembers_them() {
    let blocks = |client: &mut Client| {
        let frames = client.send().into_iter();
        frames.filter(|(head, _)| head.kind == HEADERS).map(|(_, block)| block.len()).collect::<Vec<_>>()
    };
    let mut client = Client::closed(3);
    client.fill(0);
    let first = blocks(&mut client);
    assert!(first[0] > 100 && first[1..] == [6, 6], "{first:?}");
    // A smaller table is used from then on, even if it grows again.
    for (size, stream) in [(4_095, 1), (4_096, 3)] {
        client.receive(&settings(&[(SETTINGS_HEADER_TABLE_SIZE, size)]), 0).unwrap();
        client.receive(&answer(stream, 1), 0).unwrap();
        client.fill(0);
        let later = client.send().into_iter().find(|(head, _)| head.kind == HEADERS).unwrap().1;
        assert!(later.len() > 100 && later[0] == 0x20, "{later:?}");
    }
}

#[test]
fn a_check_that_fails_half_sent_makes_room() {
    let mut client = Client::new(2, Pace::Closed, 500);
    client.receive(&settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 10)]), 0).unwrap();
    client.fill(0);
    client.receive(&frame(RST_STREAM, 0, 1, &[0; 4]), 0).unwrap();
    client.fill(0);
    assert_eq!(client.opened(), [1, 3]);
    let only = [&[0x88], &trailers(8)[..]].concat();
    client.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &only), 0).unwrap();
    let resets = client.send().into_iter().filter(|(head, _)| head.kind == RST_STREAM).map(|(head, _)| head.stream);
    assert_eq!(resets.collect::<Vec<_>>(), [3]);
    assert_eq!(client.failures(), [(Failure::Grpc(8), 1, "because"), (Failure::Reset(0), 1, "")]);
}

#[test]
fn the_connections_window_is_opened_again_before_it_is_used_up() {
    let mut client = Client::closed(1);
    client.fill(0);
    client.send();
    client.receive(&frame(HEADERS, END_HEADERS, 1, &[0x88]), 0).unwrap();
    let large = frame(DATA, 0, 3, &vec![0; DEFAULT_MAX_FRAME]);
    client.session.streams.open(0);
    let count = (OUR_WINDOW / 2) as usize / DEFAULT_MAX_FRAME;
    // They are counted for a closed stream too.
    client.session.streams.close(3);
    for _ in 0..count - 1 {
        client.receive(&large, 0).unwrap();
    }
    assert_eq!(client.send().len(), 0);
    client.receive(&large, 0).unwrap();
    let expected = Head { length: 4, kind: WINDOW_UPDATE, flags: 0, stream: 0 };
    assert_eq!(client.send(), [(expected, (OUR_WINDOW / 2).to_be_bytes().to_vec())]);
}

#[test]
fn a_connection_is_spent_when_numbers_run_out_or_the_server_goes() {
    let mut client = Client::closed(2);
    client.session = Session::starting_with(2, 0x7fff_ffff);
    client.receive(&settings(&[]), 0).unwrap();
    client.fill(0);
    assert_eq!((client.opened(), client.session.is_spent()), (vec![0x7fff_ffff], false));
    client.receive(&answer(0x7fff_ffff, 1), 0).unwrap();
    assert!(client.session.is_spent() && !client.session.has_room());

    let mut client = Client::closed(2);
    client.fill(0);
    client.send();
    client.receive(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), 0).unwrap();
    assert_eq!(client.failures(), [(Failure::GoingAway, 1, "")]);
    assert!(!client.session.has_room() && !client.session.is_spent(), "stream 1 is still answered");
    client.receive(&answer(1, 1), 0).unwrap();
    assert!(client.session.is_spent());
}

proptest! {
    /// Any input is accepted or rejected, and every check is counted once.
    #[test]
    fn hostile_bytes_do_no_harm(
        frames in prop::collection::vec((0..12_u8, any::<u8>(), 0..12_u32, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
        raw in prop::collection::vec(any::<u8>(), 0..100),
        step in 1..200_usize,
    ) {
        let mut client = Client::closed(4);
        client.fill(0);
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in &frames {
            match kind {
                10 => bytes.extend(answer(*stream, i32::from(flags % 3))),
                11 => bytes.extend(frame(HEADERS, END_HEADERS, *stream, &[0x88])),
                _ => bytes.extend(frame(*kind, *flags, *stream, payload)),
            }
        }
        bytes.extend(&raw);
        let mut unread = Vec::new();
        for chunk in bytes.chunks(step) {
            unread.extend_from_slice(chunk);
            let Ok(taken) = client.receive(&unread, 1) else { break };
            unread.drain(..taken);
            client.fill(1);
        }
        let opened = client.opened().len() as u64;
        prop_assert!(client.session.under_way() <= 4);
        prop_assert_eq!(client.stats.checks() + client.session.under_way() as u64, opened);
        client.session.abandon(Failure::ConnectionLost, "", &mut client.stats);
        prop_assert_eq!((client.stats.checks(), client.session.under_way()), (opened, 0));
    }
}
