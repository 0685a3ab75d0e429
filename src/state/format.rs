//! The file of counters.
//!
//! ```text
//! file    magic "TGCOUNTS", version (4 bytes), written at (8 bytes, ns), checksum of these 20 bytes (4 bytes), blocks
//! block   length of the records (4 bytes), their number (4 bytes), checksum of these 8 bytes and of the records (4 bytes), records
//! the end a block of length 0, with the number of all records
//! ```
//!
//! Numbers are little-endian; checksums are CRC-32. The last block shows that the file is whole.

use std::io::{self, Read, Write};

/// Begins the file.
const MAGIC: &[u8; 8] = b"TGCOUNTS";
/// The version of the format. Change it with any change of the file or of a record.
const VERSION: u32 = 1;
/// The largest block that is read: one that claims more is damaged.
const MAX_BLOCK_BYTES: usize = 4 << 20;

/// Why a file cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    /// The system cannot read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not begin as a file of counters does.
    #[error("it is not a file of counters")]
    Foreign,
    /// A newer version wrote it.
    #[error("version {0} of the format, but this program supports {VERSION}")]
    Later(u32),
    /// It ends too early, or a checksum is wrong.
    #[error("it is damaged")]
    Damaged,
}

/// Writes blocks of records.
pub(super) struct Writer<W> {
    out: W,
    /// All records so far.
    records: u32,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file that is written at `at_ns`.
    pub(super) fn begin(mut out: W, at_ns: u64) -> io::Result<Self> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&at_ns.to_le_bytes());
        let sum = crc32fast::hash(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        out.write_all(&head)?;
        Ok(Self { out, records: 0, bytes: head.len() as u64 })
    }

    /// Writes a block of this number of records.
    pub(super) fn block(&mut self, records: &[u8], count: u32) -> io::Result<()> {
        let length = u32::try_from(records.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.records = self.records.saturating_add(count);
        self.write(length, count, records)
    }

    /// Ends the file. Returns what it was written to, and the number of records and bytes.
    pub(super) fn finish(mut self) -> io::Result<(W, u32, u64)> {
        self.write(0, self.records, &[])?;
        self.out.flush()?;
        Ok((self.out, self.records, self.bytes))
    }

    fn write(&mut self, length: u32, count: u32, records: &[u8]) -> io::Result<()> {
        let head = head(length, count);
        self.out.write_all(&head)?;
        self.out.write_all(&sum(&head, records).to_le_bytes())?;
        self.out.write_all(records)?;
        self.bytes += (head.len() + size_of::<u32>() + records.len()) as u64;
        Ok(())
    }
}

/// Reads blocks of records.
pub(super) struct Reader<R> {
    input: R,
    records: u32,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    pub(super) fn begin(mut input: R) -> Result<Self, FormatError> {
        let mut head = [0; 24];
        read(&mut input, &mut head)?;
        let (begin, sum) = head.split_at(20);
        if !begin.starts_with(MAGIC) {
            return Err(FormatError::Foreign);
        }
        if crc32fast::hash(begin).to_le_bytes() != sum {
            return Err(FormatError::Damaged);
        }
        match number(&head, 8) {
            VERSION => Ok(Self { input, records: 0 }),
            other => Err(FormatError::Later(other)),
        }
    }

    /// The records of the next block and their number; `None` at the end of a whole file.
    pub(super) fn block(&mut self) -> Result<Option<(Vec<u8>, u32)>, FormatError> {
        let mut head = [0; 12];
        read(&mut self.input, &mut head)?;
        let (length, count, expected) = (number(&head, 0), number(&head, 4), number(&head, 8));
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes > MAX_BLOCK_BYTES {
            return Err(FormatError::Damaged);
        }
        let mut records = vec![0; bytes];
        read(&mut self.input, &mut records)?;
        if sum(&self::head(length, count), &records) != expected {
            return Err(FormatError::Damaged);
        }
        if bytes == 0 {
            return if count == self.records { Ok(None) } else { Err(FormatError::Damaged) };
        }
        self.records = self.records.saturating_add(count);
        Ok(Some((records, count)))
    }
}

fn head(length: u32, count: u32) -> [u8; 8] {
    (u64::from(length) | u64::from(count) << 32).to_le_bytes()
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

/// Reads all of `into`; a file that ends before is damaged.
fn read(input: &mut impl Read, into: &mut [u8]) -> Result<(), FormatError> {
    input.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FormatError::Damaged,
        _ => FormatError::Io(error),
    })
}
