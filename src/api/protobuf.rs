//! A minimal protocol buffer codec, to read a request in place and to write an answer.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. As specified there, unknown fields are skipped, the last of
//! several values of a scalar is used, and a message field that occurs twice is merged by its reader.

/// Reads the fields of one message, borrowing from it.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// The value of one field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// An integer, boolean or enum.
    Varint(u64),
    /// A string, bytes or message.
    Bytes(&'a [u8]),
    /// Eight bytes, four bytes or a group: none of our fields.
    Other,
}

/// What is wrong with a message.
pub(super) type Malformed = &'static str;

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        // Nearly all fields are short texts and messages: one byte for number and type, one byte for the length.
        if let [key @ 0x08..=0x7f, length @ 0..=0x7f, rest @ ..] = self.rest
            && key & 7 == 2
            && let Some((taken, rest)) = rest.split_at_checked(usize::from(*length))
        {
            self.rest = rest;
            return Ok(Some((u32::from(key >> 3), Value::Bytes(taken))));
        }
        self.next_of_any_kind()
    }

    fn next_of_any_kind(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| "field number out of range")?;
        let field = key >> 3;
        if field == 0 {
            return Err("field number 0");
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                Value::Bytes(self.bytes(length)?)
            }
            3 => self.skip_group(field).map(|()| Value::Other)?,
            5 => self.bytes(4).map(|_| Value::Other)?,
            _ => return Err("unknown wire type"),
        };
        Ok(Some((field, value)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (i, byte) in self.rest.iter().copied().enumerate().take(MAX_VARINT_BYTES) {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has only the topmost bit.
            if i == MAX_VARINT_BYTES - 1 && bits > 1 {
                return Err("varint too long");
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(i + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(if self.rest.len() < MAX_VARINT_BYTES { TRUNCATED } else { "varint too long" })
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Skips a group of any depth, without recursion.
    fn skip_group(&mut self, group: u32) -> Result<(), Malformed> {
        let mut open = vec![group];
        while let Some(innermost) = open.last().copied() {
            let key = u32::try_from(self.varint()?).map_err(|_| "field number out of range")?;
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.bytes(8)?),
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                    self.bytes(length)?;
                }
                3 if open.len() < MAX_GROUPS => open.push(key >> 3),
                4 if key >> 3 == innermost => drop(open.pop()),
                5 => drop(self.bytes(4)?),
                _ => return Err("bad group"),
            }
        }
        Ok(())
    }
}

/// Writes an integer field; 0 is left out, as in proto3.
pub(super) fn put_varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(field << 3));
        put_varint(out, value);
    }
}

/// Writes a string, bytes or message field, even if it is empty.
pub(super) fn put_bytes_field(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a message field whose content `write` appends, without a second buffer.
///
/// The content is written first, then its length is inserted before it: one byte if it is below 128, as in nearly all cases.
pub(super) fn put_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(field << 3 | 2));
    let at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    let mut prefix = Vec::new();
    if let (Ok(length @ 0..=0x7f), Some(slot)) = (u8::try_from(length), out.get_mut(at)) {
        *slot = length;
    } else {
        put_varint(&mut prefix, length as u64);
        out.splice(at..=at, prefix);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The bytes of a varint of 64 bits.
const MAX_VARINT_BYTES: usize = 10;
/// Nested groups: our messages have none.
const MAX_GROUPS: usize = 64;
const TRUNCATED: Malformed = "message ends in the middle of a field";
