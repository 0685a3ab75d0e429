//! Examples of the specification, and blocks that the `h2` crate encodes.

use super::super::{put_field, put_indexed, put_literal, put_table_size};
use super::*;

/// The fields of a block as text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listed(Vec<(String, String)>);

impl FieldSink for Listed {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(name), text(value)));
    }
}

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    let mut listed = Listed::default();
    decoder.read(block, &mut listed).map(|()| listed.0)
}

fn list(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Three requests on one connection, without Huffman and with it (RFC 7541, C.3 and C.4).
#[test]
fn the_examples_of_the_specification() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let huffman = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    let host = (":authority", "www.example.com");
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new();
        let first = list(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), host]);
        assert_eq!(read(&mut decoder, &bytes(blocks[0])), Ok(first.clone()));
        let second = [first.clone(), list(&[("cache-control", "no-cache")])].concat();
        assert_eq!(read(&mut decoder, &bytes(blocks[1])), Ok(second));
        let third =
            [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), host, ("custom-key", "custom-value")];
        assert_eq!(read(&mut decoder, &bytes(blocks[2])), Ok(list(&third)));
    }
}

#[test]
fn what_is_put_is_read() {
    let mut block = Vec::new();
    put_table_size(&mut block, 0);
    put_table_size(&mut block, 4_096);
    put_literal(&mut block, true, None, "a", &"b".repeat(300));
    put_literal(&mut block, true, Some(31), "content-type", "application/grpc");
    put_indexed(&mut block, 62);
    put_indexed(&mut block, 63);
    put_field(&mut block, b"grpc-message", b"no");
    let long = "b".repeat(300);
    let (one, other) = (("a", long.as_str()), ("content-type", "application/grpc"));
    assert_eq!(read(&mut Decoder::new(), &block), Ok(list(&[one, other, other, one, ("grpc-message", "no")])));
}

#[test]
fn a_bad_block_is_an_error() {
    let cases: [&[u8]; 12] = [
        &[0x80],
        &[0xbe],
        &[0x3f, 0xe2, 0x1f],
        &[0x82, 0x20],
        &[0x00],
        &[0x00, 0x05, b'x'],
        &[0x00, 0x01, b'x', 0x82, 0x00, 0x00],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0x00, 0x00],
        &[0x0f, 0xff, 0xff, 0xff, 0x7f, 0x00],
        &[0x41],
        &[0x40, 0x01],
    ];
    for block in cases {
        assert!(read(&mut Decoder::new(), block).is_err(), "{block:?}");
    }
}

#[test]
fn the_number_of_changes_shows_whether_a_block_can_be_read_from_memory() {
    let mut decoder = Decoder::new();
    for (block, changes) in
        [(&[0x82, 0x86][..], 0), (b"\x00\x01a\x01b", 0), (b"\x40\x01a\x01b", 1), (&[0xbe], 1), (&[0x20], 2)]
    {
        read(&mut decoder, block).unwrap();
        assert_eq!(decoder.changes(), changes, "{block:?}");
    }
}
