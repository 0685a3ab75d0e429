//! What a client of gRPC reads of header blocks: the status of a call. There is no dynamic table, because its SETTINGS do not allow one.

use super::{STATIC_ENTRIES, integer, string};

/// Reads the three headers about the status of a call from header blocks; everything else is validated and ignored.
#[derive(Clone, Debug)]
pub(crate) struct StatusDecoder {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// The headers of a block that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// `:status`.
    pub(crate) status: Option<u16>,
    /// `grpc-status`; [`u16::MAX`] if it is not a number.
    pub(crate) grpc: Option<u16>,
    /// `grpc-message`, not decoded.
    pub(crate) message: Vec<u8>,
}

impl StatusDecoder {
    pub(crate) fn new() -> Self {
        Self { name: Vec::new(), value: Vec::new() }
    }

    /// Reads a whole block.
    ///
    /// # Errors
    /// It is not a header block, or needs a dynamic table.
    pub(crate) fn read(&mut self, block: &[u8]) -> Result<Meaning, &'static str> {
        let (mut meaning, mut rest) = (Meaning::default(), block);
        while let Some(first) = rest.first().copied() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                known(index)?;
                if let Some(status) = index.checked_sub(STATUS).and_then(|at| STATUSES.get(at)) {
                    meaning.status = Some(*status);
                }
            } else if first & 0xe0 == 0x20 {
                if integer(&mut rest, 5)? != 0 {
                    return Err("a header block makes its table larger than allowed");
                }
            } else {
                self.literal(if first & 0x40 != 0 { 6 } else { 4 }, &mut rest, &mut meaning)?;
            }
        }
        Ok(meaning)
    }

    fn literal(&mut self, prefix: u8, rest: &mut &[u8], meaning: &mut Meaning) -> Result<(), &'static str> {
        let index = integer(rest, prefix)?;
        self.name.clear();
        if index == 0 {
            push_string(rest, &mut self.name)?;
        } else {
            known(index)?;
            if (STATUS..STATUS + STATUSES.len()).contains(&index) {
                self.name.extend_from_slice(b":status");
            }
        }
        self.value.clear();
        push_string(rest, &mut self.value)?;
        match self.name.as_slice() {
            b":status" => meaning.status = number(&self.value),
            b"grpc-status" => meaning.grpc = Some(number(&self.value).unwrap_or(u16::MAX)),
            b"grpc-message" => meaning.message.clone_from(&self.value),
            _ => {}
        }
        Ok(())
    }
}

/// Appends the string that follows, decoded.
fn push_string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut decoded = Vec::new();
    let text = string(rest, &mut decoded)?;
    out.extend_from_slice(text);
    Ok(())
}

fn known(index: usize) -> Result<(), &'static str> {
    if (1..=STATIC_ENTRIES).contains(&index) {
        Ok(())
    } else {
        Err("a header block uses a table that it must not have")
    }
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The first index of `:status` in the static table, and its values there.
const STATUS: usize = 8;
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

#[cfg(test)]
mod tests {
    use super::super::put_literal;
    use super::*;

    fn read(block: &[u8]) -> Result<Meaning, &'static str> {
        StatusDecoder::new().read(block)
    }

    #[test]
    fn every_form_of_a_header_is_read() {
        let meaning = |status, grpc, message: &str| Meaning { status, grpc, message: message.into() };
        let mut long = Vec::new();
        put_literal(&mut long, false, None, "other", &"x".repeat(1_000));
        put_literal(&mut long, true, None, "grpc-message", &"y".repeat(300));
        let cases: [(&[u8], Meaning); 8] = [
            (&[], meaning(None, None, "")),
            (&[0x88], meaning(Some(200), None, "")),
            (&[0x20, 0x8e], meaning(Some(500), None, "")),
            (b"\x08\x03503", meaning(Some(503), None, "")),
            (b"\x48\x03302", meaning(Some(302), None, "")),
            (b"\x00\x0bgrpc-status\x0212\x10\x0cgrpc-message\x02no", meaning(None, Some(12), "no")),
            (b"\x40\x0bgrpc-status\x01x", meaning(None, Some(u16::MAX), "")),
            (&long, meaning(None, None, &"y".repeat(300))),
        ];
        for (block, expected) in cases {
            assert_eq!(read(block), Ok(expected), "{block:?}");
        }
    }

    #[test]
    fn a_bad_block_is_an_error() {
        let cases: [&[u8]; 9] = [
            &[0x80],
            &[0xbe],
            &[0x3f, 0xe1, 0x1f],
            &[0x00],
            &[0x00, 0x05, b'x'],
            &[0x00, 0x01, b'x', 0x82, 0x00, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x7f, 0x00],
            &[0x0f, 0xff, 0xff, 0xff, 0x7f, 0x00],
        ];
        for block in cases {
            assert!(read(block).is_err(), "{block:?}");
        }
    }
}
