//! Header blocks (RFC 7541): integers, strings and fields.
//!
//! This is our own code, because the available crates (`hpack` and its forks) build the Huffman table again for every string:
//! with a peer whose headers differ each time, that would be most of the cost.

mod decoder;
#[cfg(feature = "bench")]
mod meaning;
mod table;

pub(crate) use decoder::{Decoder, FieldSink, field_bytes};
#[cfg(feature = "bench")]
pub(crate) use meaning::StatusDecoder;

use table::ENTRY_BYTES;

use super::huffman;

/// Appends a header that is in one of the tables.
pub(crate) fn put_indexed(out: &mut Vec<u8>, index: usize) {
    put_integer(out, 0x80, 7, index);
}

/// Appends a header in full; with `remember` it is added to the peer's table. `index` is that of its name in the static table.
pub(crate) fn put_literal(out: &mut Vec<u8>, remember: bool, index: Option<usize>, name: &str, value: &str) {
    let (first, prefix) = if remember { (0x40, 6) } else { (0, 4) };
    put_integer(out, first, prefix, index.unwrap_or(0));
    if index.is_none() {
        put_string(out, name);
    }
    put_string(out, value);
}

/// Appends a header in full, which is not added to the peer's table.
pub(crate) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    put_bytes(out, name);
    put_bytes(out, value);
}

/// Appends a change of the size of the peer's table, which has to precede all headers of a block.
pub(crate) fn put_table_size(out: &mut Vec<u8>, size: usize) {
    put_integer(out, 0x20, 5, size);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Appends an integer after the bits of `first` that are not a part of its prefix (section 5.1).
fn put_integer(out: &mut Vec<u8>, first: u8, prefix: u8, value: usize) {
    let largest = (1_u8 << prefix) - 1;
    if let Some(short) = u8::try_from(value).ok().filter(|short| *short < largest) {
        out.push(first | short);
        return;
    }
    out.push(first | largest);
    let mut rest = value - usize::from(largest);
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Reads an integer. Four bytes after the prefix are more than our blocks allow.
fn integer(rest: &mut &[u8], prefix: u8) -> Result<usize, &'static str> {
    let (first, mut after) = rest.split_first().ok_or(TRUNCATED)?;
    let largest = 0xff_u8 >> (8 - prefix);
    let mut value = usize::from(first & largest);
    if value == usize::from(largest) {
        for at in 0..=4 {
            let (byte, others) = after.split_first().filter(|_| at < 4).ok_or(TRUNCATED)?;
            after = others;
            value += usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    Ok(value)
}

/// The number of entries in the static table; a dynamic one follows it.
pub(crate) const STATIC_ENTRIES: usize = 61;
/// At the beginning of a block: sets the size of the dynamic table to 0.
pub(crate) const EMPTY_TABLE: u8 = 0x20;

/// Takes the string at the beginning of `rest`: as it is there, or decoded into `decoded`, which is empty.
fn string<'o, 'b: 'o>(rest: &mut &'b [u8], decoded: &'o mut Vec<u8>) -> Result<&'o [u8], &'static str> {
    let is_encoded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or(TRUNCATED)?;
    *rest = after;
    if !is_encoded {
        return Ok(text);
    }
    huffman::decode(text, decoded)?;
    Ok(decoded)
}

const TRUNCATED: &str = "a header block ends too early";
