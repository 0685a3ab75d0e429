//! Opens the database, for the writer and for queries.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::resolution::Resolution;
use super::schema;

/// Why the history cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    /// An error of SQLite, or of the system through it.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A newer version of Tidegate created it.
    #[error("the database has schema version {0}, but this program supports {version}: run the newer program or move the file away", version = schema::VERSION)]
    Later(i64),
    /// A corrupt file cannot be renamed.
    #[error("the database is corrupt and cannot be set aside: {0}")]
    SetAside(io::Error),
    /// The database was corrupt too often.
    #[error(
        "the database is corrupt, as were {MOST_SET_ASIDE} before it: check the disk, then move the *.corrupt-* files away"
    )]
    AgainAndAgain,
}

impl DatabaseError {
    /// Whether the content of the file is the cause.
    pub(super) fn is_corrupt(&self) -> bool {
        matches!(self, Self::Sqlite(error) if is_corrupt(error))
    }
}

/// Whether the content of the file is the cause of an error.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Options for opening the database as its writer.
#[derive(Clone, Debug)]
pub(super) struct OpenOptions {
    /// The file; `None`: in memory.
    pub(super) path: Option<PathBuf>,
    /// The resolutions that are kept.
    pub(super) resolutions: Vec<Resolution>,
    /// The maximum size.
    pub(super) max_bytes: u64,
}

/// Opens the database for writing; creates it if it does not exist.
pub(super) fn open(options: &OpenOptions, second: i64) -> Result<Connection, DatabaseError> {
    let mut connection = match &options.path {
        Some(path) => Connection::open(path)?,
        None => Connection::open_in_memory()?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let version: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if version > schema::VERSION {
        return Err(DatabaseError::Later(version));
    }
    connection.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
    // With every commit synced, a power failure loses no more than a `kill -9`; at one commit every few seconds this is cheap.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = {WAL_BYTES};"
    ))?;
    let page_bytes: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0))?;
    let pages = i64::try_from(options.max_bytes).unwrap_or(i64::MAX) / page_bytes.max(1);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), (), |_| Ok(()))?;

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version == 0 {
        transaction.execute_batch(&schema::tables())?;
        let id = RandomState::new().hash_one(second).cast_signed();
        transaction.execute("INSERT INTO about VALUES ('id', ?1), ('began', ?2)", (id, second))?;
        for resolution in &options.resolutions {
            let since = Resolution::Day.floor(second);
            transaction.execute("INSERT INTO kept VALUES (?1, ?2, 0)", (resolution.seconds(), since))?;
        }
        transaction.pragma_update(None, "user_version", schema::VERSION)?;
    } else {
        transaction.execute_batch(&schema::views())?;
        transaction.execute("UPDATE about SET value = min(value, ?1) WHERE name = 'began'", [second])?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Opens the database for queries, read-only.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA temp_store = MEMORY")?;
    Ok(connection)
}

/// Renames a corrupt database, so that it can be examined. Returns its new path.
pub(super) fn set_aside(path: &Path, second: i64) -> Result<PathBuf, DatabaseError> {
    if set_aside_before(path).map_err(DatabaseError::SetAside)? >= MOST_SET_ASIDE {
        return Err(DatabaseError::AgainAndAgain);
    }
    let mut names = (0..=MOST_SET_ASIDE).map(|n| suffixed(path, &format!(".corrupt-{second}-{n}")));
    let aside = names.find(|aside| !aside.exists()).ok_or(DatabaseError::AgainAndAgain)?;
    rename(path, &aside).map_err(DatabaseError::SetAside)?;
    Ok(aside)
}

/// Renames a database, and its write-ahead log with it, so that the log is not taken for that of the next database.
pub(crate) fn rename(path: &Path, to: &Path) -> io::Result<()> {
    fs::rename(path, to)?;
    for journal in ["-wal", "-shm"] {
        match fs::rename(suffixed(path, journal), suffixed(to, journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn set_aside_before(path: &Path) -> io::Result<usize> {
    let start = format!("{}.corrupt-", path.file_name().unwrap_or_default().display());
    let mut found = 0;
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        found += usize::from(name.starts_with(&start) && !name.ends_with("-wal") && !name.ends_with("-shm"));
    }
    Ok(found)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How long to wait for another program that has locked the database: decisions do not wait, but a shutdown does.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The size to which the write-ahead log is truncated after a checkpoint: a few flushes of ten thousand series.
const WAL_BYTES: u64 = 16 << 20;
/// Corrupt files next to the one in use: their sizes add up, and more of them are of no further use.
const MOST_SET_ASIDE: usize = 4;
