//! Settings and the audit log in the data directory.

use std::path::Path;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::audit::{Action, AuditEntry, MAX_AUDIT};
use crate::config::{Setting, SettingsBook};
use crate::history::{is_corrupt, rename_database};
use crate::ledger::Record;
use crate::rules::{Scope, ScopeTarget, SettingName};
use crate::units::Timestamp;

/// The database of settings and changes. Every change is on the disk before it is answered.
#[derive(Debug)]
pub(crate) struct Journal {
    connection: Mutex<Connection>,
    /// What was set aside when it was opened, in words.
    damage: Option<String>,
}

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// An error of SQLite, or of the system through it.
    #[error("settings.sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A newer version of Tidegate wrote it.
    #[error(
        "settings.sqlite has schema version {0}, but this program supports {VERSION}: run the newer program or move the file away"
    )]
    Later(i64),
    /// It is damaged, and cannot be set aside.
    #[error("settings.sqlite is damaged and cannot be set aside: {0}")]
    SetAside(std::io::Error),
}

impl Journal {
    /// Opens the database; creates it if it does not exist. A damaged one is set aside, with a line in the log.
    ///
    /// # Errors
    /// The file was written by a newer version, or cannot be read or created.
    pub(crate) fn open(path: &Path, now: Timestamp) -> Result<Self, JournalError> {
        let mut damage = None;
        let connection = match connect(path) {
            Err(JournalError::Sqlite(error)) if is_corrupt(&error) => {
                let aside = path.with_extension(format!("sqlite.corrupt-{}", now.as_ns() / 1_000_000_000));
                rename_database(path, &aside).map_err(JournalError::SetAside)?;
                tracing::error!(
                    %error, aside = %aside.display(),
                    "the stored settings are damaged: they have been set aside, and the service starts without them"
                );
                let shown = aside.file_name().unwrap_or_default().display();
                damage = Some(format!("settings.sqlite: {error}; set aside as {shown}"));
                connect(path)?
            }
            other => other?,
        };
        Ok(Self { connection: Mutex::new(connection), damage })
    }

    /// What was set aside when it was opened, in words.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// The settings that are stored in a database, which is only read, also while a server uses it; none if there is no such file.
    ///
    /// # Errors
    /// The file was written by a newer version or another program, is damaged, or cannot be read.
    pub(crate) fn read_settings(path: &Path) -> Result<SettingsBook, JournalError> {
        if !path.exists() {
            return Ok(SettingsBook::default());
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        check_version(&connection)?;
        Self { connection: Mutex::new(connection), damage: None }.settings()
    }

    /// The stored settings. Those that cannot be read, and those beyond the bound, are left out, with a line in the log.
    pub(crate) fn settings(&self) -> Result<SettingsBook, JournalError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare("SELECT * FROM setting ORDER BY rowid")?;
        let rows = statement.query_map((), |row| Ok(read_setting(row)))?;
        let mut book = SettingsBook::default();
        let (mut unreadable, mut beyond) = (0, 0);
        for row in rows {
            match row? {
                Some(setting) => beyond += usize::from(!book.restore(setting)),
                None => unreadable += 1,
            }
        }
        if unreadable + beyond > 0 {
            tracing::error!(unreadable, beyond_the_bound = beyond, "stored settings are left out");
        }
        Ok(book)
    }

    /// The stored changes, the latest last.
    pub(super) fn audit(&self) -> Vec<AuditEntry> {
        let read = || -> Result<Vec<AuditEntry>, rusqlite::Error> {
            let connection = self.connection.lock();
            let mut statement = connection.prepare("SELECT * FROM audit ORDER BY rowid")?;
            let rows = statement.query_map((), read_audit)?;
            rows.collect()
        };
        read().unwrap_or_else(|error| {
            tracing::error!(%error, "the stored audit log cannot be read");
            Vec::new()
        })
    }

    /// Stores a setting.
    pub(super) fn save(&self, setting: &Setting) -> Result<(), JournalError> {
        Ok(save(&self.connection.lock(), setting)?)
    }

    /// Removes stored settings and adds the changes, all or none.
    pub(super) fn forget(&self, removed: &[(Setting, AuditEntry)]) -> Result<(), JournalError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        for (setting, change) in removed {
            remove(&transaction, &setting.scope, setting.name)?;
            append(&transaction, change)?;
        }
        Ok(transaction.commit()?)
    }

    /// Stores records of the ledger, with the settings that they set or remove and the changes, all or none.
    pub(super) fn adopt(
        &self,
        records: &[Record],
        set: &[&Setting],
        removed: &[(&Scope, SettingName)],
        changes: &[AuditEntry],
    ) -> Result<(), JournalError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        for record in records {
            keep_record(&transaction, record)?;
        }
        for setting in set {
            save(&transaction, setting)?;
        }
        for (scope, name) in removed {
            remove(&transaction, scope, *name)?;
        }
        for change in changes {
            append(&transaction, change)?;
        }
        Ok(transaction.commit()?)
    }

    /// The stored records of the ledger. What cannot be read is left out.
    pub(super) fn records(&self) -> Result<Vec<Record>, JournalError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare("SELECT record FROM shared")?;
        let texts = statement.query_map((), |row| row.get::<_, String>(0))?;
        Ok(texts.filter_map(|text| Record::read(&text.ok()?)).collect())
    }

    /// Stores these records in place of all others.
    pub(super) fn keep_records<'r>(&self, records: impl Iterator<Item = &'r Record>) -> Result<(), JournalError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        transaction.execute("DELETE FROM shared", ())?;
        for record in records {
            keep_record(&transaction, record)?;
        }
        Ok(transaction.commit()?)
    }

    /// Removes the record about a thing: it was changed by a process that shares nothing.
    pub(super) fn forget_record(&self, id: &str) -> Result<(), JournalError> {
        self.connection.lock().execute("DELETE FROM shared WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Adds a change, and drops the oldest beyond the bound.
    pub(super) fn append(&self, entry: &AuditEntry) -> Result<(), JournalError> {
        Ok(append(&self.connection.lock(), entry)?)
    }
}

fn save(connection: &Connection, setting: &Setting) -> Result<(), rusqlite::Error> {
    let (kind, target) = setting.scope.target.to_parts();
    let until = setting.until.map(nanoseconds);
    connection.execute(
        "INSERT OR REPLACE INTO setting VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            kind,
            target,
            entries_column(&setting.scope),
            setting.scope.limit,
            setting.name.name(),
            setting.value,
            setting.principal,
            nanoseconds(setting.set_at),
            setting.reason,
            until
        ],
    )?;
    Ok(())
}

fn keep_record(connection: &Connection, record: &Record) -> Result<(), rusqlite::Error> {
    let sql = "INSERT OR REPLACE INTO shared VALUES (?1, ?2)";
    connection.prepare(sql)?.execute([record.id(), record.text()])?;
    Ok(())
}

fn remove(connection: &Connection, scope: &Scope, name: SettingName) -> Result<(), rusqlite::Error> {
    let (kind, target) = scope.target.to_parts();
    let sql = "DELETE FROM setting WHERE kind = ?1 AND target = ?2 AND entries = ?3 AND place = ?4 AND name = ?5";
    let mut statement = connection.prepare(sql)?;
    statement.execute(params![kind, target, entries_column(scope), scope.limit, name.name()])?;
    Ok(())
}

fn append(connection: &Connection, entry: &AuditEntry) -> Result<(), rusqlite::Error> {
    connection.prepare("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(params![
        nanoseconds(entry.time),
        entry.principal,
        entry.action.name(),
        entry.scope,
        entry.name,
        entry.old,
        entry.new,
        entry.reason,
        entry.applies_to.as_ref().map(scope_column)
    ])?;
    let most = i64::try_from(MAX_AUDIT).unwrap_or(i64::MAX);
    let sql = "DELETE FROM audit WHERE rowid <= (SELECT max(rowid) FROM audit) - ?1";
    connection.prepare(sql)?.execute([most])?;
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open(path)?;
    // Before anything is changed: a foreign file is set aside as it is.
    let version = check_version(&connection)?;
    connection.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;")?;
    connection.execute_batch(TABLES)?;
    if version == 1 && !columns(&connection, "audit")?.iter().any(|(name, ..)| name == "applies_to") {
        connection.execute_batch("ALTER TABLE audit ADD COLUMN applies_to TEXT")?;
    }
    connection.pragma_update(None, "user_version", VERSION)?;
    // Damage beyond the first page would show only later.
    let check: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    match &*check {
        "ok" => Ok(connection),
        _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(check))
            .into()),
    }
}

/// The version of the tables, if this program can read them.
fn check_version(connection: &Connection) -> Result<i64, JournalError> {
    let version: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if version > VERSION {
        return Err(JournalError::Later(version));
    }
    check_tables(connection, version)?;
    Ok(version)
}

/// Checks that tables that exist are ours, of this version or the first: a file of another program may have the same names.
fn check_tables(connection: &Connection, version: i64) -> Result<(), JournalError> {
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(TABLES)?;
    for table in ["setting", "audit"] {
        let (found, mut expected) = (columns(connection, table)?, columns(&ours, table)?);
        if version == 1 {
            expected.retain(|(name, ..)| name != "applies_to" || found.iter().any(|(known, ..)| known == name));
        }
        if !found.is_empty() && found != expected {
            let what = format!("table '{table}' is not one of Tidegate");
            let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
            return Err(rusqlite::Error::SqliteFailure(damage, Some(what)).into());
        }
    }
    Ok(())
}

/// Of each column the name, the type, whether it may be null, and its place in the primary key.
fn columns(connection: &Connection, table: &str) -> Result<Vec<(String, String, bool, i64)>, rusqlite::Error> {
    let mut statement = connection.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1)")?;
    let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    rows.collect()
}

fn entries_column(scope: &Scope) -> String {
    serde_json::to_string(&scope.entries).unwrap_or_default()
}

fn read_setting(row: &Row<'_>) -> Option<Setting> {
    let text = |column: usize| row.get::<_, String>(column).ok();
    let target = ScopeTarget::from_parts(&text(0)?, text(1)?)?;
    let entries = serde_json::from_str(&text(2)?).ok()?;
    let scope = Scope::new(target, entries, row.get(3).ok()?).ok()?;
    let name = SettingName::read(&text(4)?, &scope.target).ok()?;
    let until = row.get::<_, Option<i64>>(9).ok()?.map(timestamp);
    Some(Setting {
        scope,
        name,
        value: text(5)?,
        principal: text(6)?,
        set_at: timestamp(row.get(7).ok()?),
        reason: text(8)?,
        until,
    })
}

fn read_audit(row: &Row<'_>) -> Result<AuditEntry, rusqlite::Error> {
    let action: String = row.get(2)?;
    Ok(AuditEntry {
        time: timestamp(row.get(0)?),
        principal: row.get(1)?,
        action: Action::named(&action).unwrap_or(Action::Set),
        scope: row.get(3)?,
        name: row.get(4)?,
        old: row.get(5)?,
        new: row.get(6)?,
        reason: row.get(7)?,
        applies_to: row.get::<_, Option<String>>(8)?.and_then(|text| read_scope(&text)),
    })
}

fn scope_column(scope: &Scope) -> String {
    let (kind, target) = scope.target.to_parts();
    serde_json::to_string(&(kind, target, &scope.entries, scope.limit)).unwrap_or_default()
}

fn read_scope(text: &str) -> Option<Scope> {
    let (kind, target, entries, limit): (String, String, _, _) = serde_json::from_str(text).ok()?;
    Scope::new(ScopeTarget::from_parts(&kind, target)?, entries, limit).ok()
}

/// SQLite has signed integers: enough until the year 2262.
fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_ns()).unwrap_or(i64::MAX)
}

fn timestamp(ns: i64) -> Timestamp {
    Timestamp::from_ns(u64::try_from(ns).unwrap_or(0))
}

/// The version of the tables.
const VERSION: i64 = 2;
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS setting (
        kind TEXT NOT NULL, target TEXT NOT NULL, entries TEXT NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,
        value TEXT NOT NULL, principal TEXT NOT NULL, set_at INTEGER NOT NULL, reason TEXT NOT NULL, until INTEGER,
        PRIMARY KEY (kind, target, entries, place, name)
    );
    CREATE TABLE IF NOT EXISTS audit (
        time INTEGER NOT NULL, principal TEXT NOT NULL, action TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
        old TEXT NOT NULL, new TEXT NOT NULL, reason TEXT NOT NULL, applies_to TEXT
    );
    CREATE TABLE IF NOT EXISTS shared (id TEXT PRIMARY KEY, record TEXT NOT NULL);
";
