//! The table of a decoder (RFC 7541, section 2.3): the static entries, and the dynamic ones that the peer adds.

use std::collections::VecDeque;

/// The static entries, and the dynamic ones, within a bound.
#[derive(Debug)]
pub(super) struct Table {
    /// The latest first.
    entries: VecDeque<Entry>,
    /// As section 4.1 counts them.
    bytes: usize,
    max_bytes: usize,
    /// How often the dynamic entries have changed.
    changes: u64,
}

/// A header.
#[derive(Debug)]
struct Entry {
    /// The name, then the value.
    text: Box<[u8]>,
    name_bytes: usize,
}

impl Table {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_bytes, changes: 0 }
    }

    /// The name and the value with this index, from 1.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let at = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(at) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(at - STATIC.len())?;
        entry.text.split_at_checked(entry.name_bytes)
    }

    /// Adds a header; the oldest ones make room. One that is larger than the bound empties the table, and is not added.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let bytes = name.len().saturating_add(value.len()).saturating_add(ENTRY_BYTES);
        self.changes = self.changes.wrapping_add(1);
        self.evict(self.max_bytes.saturating_sub(bytes));
        if bytes > self.max_bytes {
            return;
        }
        self.bytes += bytes;
        self.entries.push_front(Entry { text: [name, value].concat().into(), name_bytes: name.len() });
    }

    /// Adds a header with the name of another one.
    pub(super) fn add_with_name(&mut self, index: usize, value: &[u8]) {
        let Some((name, _)) = self.get(index) else { return };
        // The entry whose name it is may be one that makes room.
        let name = name.to_vec();
        self.add(&name, value);
    }

    /// Changes the bound.
    pub(super) fn resize(&mut self, max_bytes: usize) {
        self.changes = self.changes.wrapping_add(1);
        self.max_bytes = max_bytes;
        self.evict(max_bytes);
    }

    /// A number that is another one after each change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    fn evict(&mut self, most_bytes: usize) {
        while self.bytes > most_bytes {
            let Some(entry) = self.entries.pop_back() else { return };
            self.bytes = self.bytes.saturating_sub(entry.text.len().saturating_add(ENTRY_BYTES));
        }
    }
}

/// What an entry counts besides its name and value (section 4.1).
pub(super) const ENTRY_BYTES: usize = 32;

/// Appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); super::STATIC_ENTRIES] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"), (":scheme", "http"),
    (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""), ("accept-encoding", "gzip, deflate"), ("accept-language", ""),
    ("accept-ranges", ""), ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
    ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""),
    ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""),
    ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_and_go_within_the_bound() {
        let mut table = Table::new(100);
        table.add(b"a", b"1");
        table.add(b"b", b"2");
        assert_eq!((table.get(62), table.get(63)), (Some((&b"b"[..], &b"2"[..])), Some((&b"a"[..], &b"1"[..]))));
        table.add_with_name(63, b"3");
        assert_eq!(
            (table.get(62), table.get(63), table.bytes),
            (Some((&b"a"[..], &b"3"[..])), Some((&b"b"[..], &b"2"[..])), 68)
        );
        assert_eq!(
            (table.get(64), table.get(0), table.get(61)),
            (None, None, Some((&b"www-authenticate"[..], &b""[..])))
        );
        table.add(b"long", &[0; 100]);
        assert_eq!((table.get(62), table.bytes), (None, 0), "too large for the table, which is empty then");
        table.add(b"a", b"1");
        table.resize(33);
        assert_eq!(table.get(62), None);
    }
}
