//! A decoder with a dynamic table.

use super::table::Table;
use super::{ENTRY_BYTES, integer, string};
use crate::http2::frame::DEFAULT_TABLE;

/// Decodes header blocks in the order in which they arrive.
///
/// Nothing that is decoded is kept but the dynamic table, which has the size that is the default of HTTP/2, and two buffers for strings.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Takes the fields of a block.
pub(crate) trait FieldSink {
    /// The next field.
    fn field(&mut self, name: &[u8], value: &[u8]);
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(DEFAULT_TABLE), name: Vec::new(), value: Vec::new() }
    }

    /// Decodes a whole block.
    ///
    /// # Errors
    /// It is not a header block. The connection cannot be used any longer, because the tables of both sides differ.
    pub(crate) fn read(&mut self, block: &[u8], sink: &mut impl FieldSink) -> Result<(), &'static str> {
        let (mut rest, mut may_resize) = (block, true);
        while let Some(first) = rest.first().copied() {
            if first & 0x80 != 0 {
                let (name, value) = self.table.get(integer(&mut rest, 7)?).ok_or(NO_ENTRY)?;
                sink.field(name, value);
            } else if first & 0xe0 == 0x20 {
                let bytes = integer(&mut rest, 5)?;
                if !may_resize {
                    return Err("a header block changes the size of its table after a header");
                }
                if bytes > DEFAULT_TABLE {
                    return Err("a header block makes its table larger than allowed");
                }
                self.table.resize(bytes);
                continue;
            } else {
                self.literal(first & 0x40 != 0, &mut rest, sink)?;
            }
            may_resize = false;
        }
        self.name.shrink_to(KEPT_BYTES);
        self.value.shrink_to(KEPT_BYTES);
        Ok(())
    }

    fn literal(&mut self, remember: bool, rest: &mut &[u8], sink: &mut impl FieldSink) -> Result<(), &'static str> {
        let Self { table, name: name_buffer, value: value_buffer } = self;
        name_buffer.clear();
        value_buffer.clear();
        let index = integer(rest, if remember { 6 } else { 4 })?;
        if index == 0 {
            let name = string(rest, name_buffer)?;
            let value = string(rest, value_buffer)?;
            sink.field(name, value);
            if remember {
                table.add(name, value);
            }
            return Ok(());
        }
        let value = string(rest, value_buffer)?;
        let (name, _) = table.get(index).ok_or(NO_ENTRY)?;
        sink.field(name, value);
        if remember {
            table.add_with_name(index, value);
        }
        Ok(())
    }

    /// A number that changes with the dynamic table: while it stays the same, equal blocks that left it the same have equal fields.
    pub(crate) fn changes(&self) -> u64 {
        self.table.changes()
    }
}

/// What a field counts in the size of a list (RFC 9113, section 6.5.2).
pub(crate) fn field_bytes(name: &[u8], value: &[u8]) -> usize {
    name.len().saturating_add(value.len()).saturating_add(ENTRY_BYTES)
}

const NO_ENTRY: &str = "a header block names an entry that its table does not have";

/// The capacity for strings that a connection keeps; most are shorter.
const KEPT_BYTES: usize = 256;

#[cfg(test)]
mod tests;
