//! The files of counters.
//!
//! ```text
//! file     magic "TGCOUNTS", version (4 bytes), generation (8 bytes), checksum of these 20 bytes (4 bytes), blocks
//! block    length of the records (4 bytes), their number (4 bytes), time (8 bytes, ns), checksum of these 16 bytes and of the
//!          records (4 bytes), records
//! the end  of a snapshot: a block of length 0, with the number of all records
//! ```
//!
//! Numbers are little-endian; checksums are CRC-32. The last block shows that a snapshot is whole. A journal has none: it ends with
//! whatever was written last, perhaps in part.

use std::io::{self, Read, Write};

use super::files::Kind;
use crate::units::Timestamp;

/// Begins each file.
const MAGIC: &[u8; 8] = b"TGCOUNTS";
/// The version of the format. Change it with any change of the files or of a record.
const VERSION: u32 = 4;
/// The oldest version that is read.
const OLDEST: u32 = OF_SEPARATE_KINDS;
/// In this version the kind of a record is a byte of its own; see [`record`](super::record).
pub(super) const OF_SEPARATE_KINDS: u32 = 3;
/// The largest block that is read: one that claims more is damaged.
const MAX_BLOCK_BYTES: usize = 4 << 20;
const FILE_HEAD: usize = 24;
/// Bytes in front of the records of a block.
pub(super) const BLOCK_HEAD: usize = 20;

/// Why a file cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    /// The system cannot read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not begin as a file of counters does.
    #[error("it is not a file of counters")]
    Foreign,
    /// A newer program wrote it, or one that is too old.
    #[error("version {0} of the format, but this program supports {OLDEST} to {VERSION}")]
    Other(u32),
    /// A checksum is wrong, or a snapshot ends too early.
    #[error("it is damaged")]
    Damaged,
    /// It ends within a block, as a journal may after a crash; or a snapshot ends without its last block.
    #[error("it ends early")]
    Torn,
}

/// Writes blocks of records.
pub(super) struct Writer<W> {
    out: W,
    /// All records so far.
    records: u32,
    bytes: u64,
}

/// The records of a block.
pub(super) struct Block {
    pub(super) records: Vec<u8>,
    pub(super) count: u32,
    /// When they were written.
    pub(super) at: Timestamp,
}

impl<W: Write> Writer<W> {
    /// Begins a file of this generation.
    pub(super) fn begin(mut out: W, generation: u64) -> io::Result<Self> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&generation.to_le_bytes());
        let sum = crc32fast::hash(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        out.write_all(&head)?;
        Ok(Self { out, records: 0, bytes: head.len() as u64 })
    }

    /// Writes a block of this number of records. The first [`BLOCK_HEAD`] bytes of `block` are for its head, and are filled in here.
    pub(super) fn block(&mut self, block: &mut [u8], count: u32, at: Timestamp) -> io::Result<()> {
        self.records = self.records.saturating_add(count);
        self.write(block, count, at)
    }

    /// Ends a snapshot. Returns what it was written to, and the number of bytes.
    pub(super) fn finish(mut self, at: Timestamp) -> io::Result<(W, u64)> {
        self.write(&mut [0; BLOCK_HEAD], self.records, at)?;
        Ok((self.out, self.bytes))
    }

    /// What it is written to.
    pub(super) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Records so far.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// In one piece, so that a crash leaves whole blocks wherever the system writes in order.
    fn write(&mut self, block: &mut [u8], count: u32, at: Timestamp) -> io::Result<()> {
        let (into, records) = block.split_first_chunk_mut::<BLOCK_HEAD>().ok_or(io::ErrorKind::InvalidInput)?;
        let head = head(u32::try_from(records.len()).map_err(|_| io::ErrorKind::InvalidInput)?, count, at);
        let (begin, end) = into.split_at_mut(head.len());
        begin.copy_from_slice(&head);
        end.copy_from_slice(&sum(&head, records).to_le_bytes());
        self.out.write_all(block)?;
        self.bytes += block.len() as u64;
        Ok(())
    }
}

/// Reads blocks of records.
pub(super) struct Reader<R> {
    input: R,
    kind: Kind,
    /// Bytes that have not been read.
    left: u64,
    records: u32,
    version: u32,
}

impl<R: Read> Reader<R> {
    /// Begins to read a file of that many bytes.
    pub(super) fn begin(mut input: R, kind: Kind, bytes: u64) -> Result<Self, FormatError> {
        let Some(left) = bytes.checked_sub(FILE_HEAD as u64) else { return Err(FormatError::Torn) };
        let mut head = [0; FILE_HEAD];
        read(&mut input, &mut head)?;
        let (begin, sum) = head.split_at(FILE_HEAD - 4);
        if head == [0; FILE_HEAD] {
            return Err(FormatError::Torn);
        }
        if !begin.starts_with(MAGIC) {
            return Err(FormatError::Foreign);
        }
        if crc32fast::hash(begin).to_le_bytes() != sum {
            return Err(FormatError::Damaged);
        }
        match number(&head, 8) {
            version @ OLDEST..=VERSION => Ok(Self { input, kind, left, records: 0, version }),
            other => Err(FormatError::Other(other)),
        }
    }

    /// The version of the format of this file.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// The next block; `None` at the end of a whole snapshot, and of a journal.
    pub(super) fn block(&mut self) -> Result<Option<Block>, FormatError> {
        if self.left == 0 && self.kind == Kind::Journal {
            return Ok(None);
        }
        let Some(left) = self.left.checked_sub(BLOCK_HEAD as u64) else { return Err(FormatError::Torn) };
        let mut head = [0; BLOCK_HEAD];
        read(&mut self.input, &mut head)?;
        let (length, count, expected) = (number(&head, 0), number(&head, 4), number(&head, 16));
        let at = Timestamp::from_ns(u64::from(number(&head, 8)) | u64::from(number(&head, 12)) << 32);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes > MAX_BLOCK_BYTES || u64::from(length) > left {
            return Err(self.torn_or_damaged(left, u64::from(length) > left, &head)?);
        }
        let mut records = vec![0; bytes];
        read(&mut self.input, &mut records)?;
        let left = left - u64::from(length);
        if sum(&self::head(length, count, at), &records) != expected {
            return Err(self.torn_or_damaged(left, left == 0, &head)?);
        }
        self.left = left;
        if bytes == 0 {
            let is_whole = count == self.records && left == 0;
            return if is_whole { Ok(None) } else { Err(FormatError::Damaged) };
        }
        self.records = self.records.saturating_add(count);
        Ok(Some(Block { records, count, at }))
    }

    /// What a block with a wrong checksum is: the last one may be written in part, and what was never written may be zeros.
    fn torn_or_damaged(&mut self, left: u64, is_last: bool, head: &[u8]) -> Result<FormatError, FormatError> {
        if is_last && left <= MAX_BLOCK_BYTES as u64 {
            return Ok(FormatError::Torn);
        }
        if head.iter().any(|byte| *byte != 0) {
            return Ok(FormatError::Damaged);
        }
        let mut rest = [0; 4096];
        loop {
            let count = self.input.read(&mut rest)?;
            match rest.get(..count) {
                Some([]) | None => return Ok(FormatError::Torn),
                Some(some) if some.iter().any(|byte| *byte != 0) => return Ok(FormatError::Damaged),
                Some(_) => {}
            }
        }
    }
}

fn head(length: u32, count: u32, at: Timestamp) -> [u8; BLOCK_HEAD - 4] {
    (u128::from(length) | u128::from(count) << 32 | u128::from(at.as_ns()) << 64).to_le_bytes()
}

fn sum(head: &[u8], records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(records);
    hasher.finalize()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |four| u32::from_le_bytes(*four))
}

/// Reads all of `into`; a file that ends before is torn.
fn read(input: &mut impl Read, into: &mut [u8]) -> Result<(), FormatError> {
    input.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FormatError::Torn,
        _ => FormatError::Io(error),
    })
}
