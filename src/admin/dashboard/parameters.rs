//! The parameters of a request: the fields of the messages of gRPC, in a query.

use std::time::SystemTime;

use prost_types::{Duration, Timestamp};
use tonic::Status;

use crate::api::proto::tidegate::v1::{Entry, EntryFilter};

/// Names and values, in their order.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Those of a query.
    ///
    /// # Errors
    /// One is not `known`, or there are too many.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Status> {
        let given = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).take(MAX_PARAMETERS + 1);
        let given: Vec<_> = given.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        if given.len() > MAX_PARAMETERS {
            return Err(Status::invalid_argument(format!("at most {MAX_PARAMETERS} parameters are allowed")));
        }
        if given.iter().any(|(name, _)| !known.contains(&name.as_str())) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Status::invalid_argument(format!("unknown parameter; known are: {known}")));
        }
        Ok(Self(given))
    }

    /// The last value of that name; empty if there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.all(name).last().unwrap_or_default().to_owned()
    }

    /// Whether the parameter is `true`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Status> {
        match &*self.text(name) {
            "" | "false" => Ok(false),
            "true" => Ok(true),
            _ => Err(wrong(name, "true or false")),
        }
    }

    /// A number; 0 if there is none.
    pub(super) fn number(&self, name: &str) -> Result<u32, Status> {
        let text = self.text(name);
        if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| wrong(name, "a number")) }
    }

    /// A length of time such as `5m`.
    pub(super) fn length(&self, name: &str) -> Result<Option<Duration>, Status> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let length = humantime::parse_duration(&text).ok().and_then(|length| Duration::try_from(length).ok());
        length.map(Some).ok_or_else(|| wrong(name, "a length of time such as 5m"))
    }

    /// An instant: seconds since 1970, or RFC 3339 in UTC.
    pub(super) fn instant(&self, name: &str) -> Result<Option<Timestamp>, Status> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        if let Ok(seconds) = text.parse() {
            return Ok(Some(Timestamp { seconds, nanos: 0 }));
        }
        let since = humantime::parse_rfc3339(&text).ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let length = since.and_then(|since| Duration::try_from(since).ok());
        let at = length.map(|Duration { seconds, nanos }| Timestamp { seconds, nanos });
        at.map(Some).ok_or_else(|| wrong(name, "seconds since 1970, or an instant such as 2026-11-27T15:00:00Z"))
    }

    /// Entries: each `entry` is `KEY=VALUE`.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Status> {
        let entry = |text: &str| {
            let (key, value) = text.split_once('=').ok_or_else(|| wrong("entry", "KEY=VALUE"))?;
            Ok(Entry { key: key.to_owned(), value: value.to_owned() })
        };
        self.all("entry").map(entry).collect()
    }

    /// The same for a filter of usage.
    pub(super) fn entry_filters(&self) -> Result<Vec<EntryFilter>, Status> {
        let entries = self.entries()?;
        Ok(entries.into_iter().map(|Entry { key, value }| EntryFilter { key, value }).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| &**value)
    }
}

fn wrong(name: &str, expected: &str) -> Status {
    Status::invalid_argument(format!("{name}: expected {expected}"))
}

/// Parameters of one request: some more than there are names, because `entry` can be repeated.
const MAX_PARAMETERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let given = Parameters::read(
            Some("domain=a%20b&top=7&entry=k=v&entry=x=%3D&banned=true&bucket=90s&from=60&to=1970-01-01T00:01:00.5Z"),
            &["domain", "top", "entry", "banned", "bucket", "from", "to", "queued"],
        )
        .unwrap();
        assert_eq!((given.text("domain"), given.text("rule")), ("a b".to_owned(), String::new()));
        assert_eq!((given.number("top").unwrap(), given.number("page").unwrap()), (7, 0));
        assert_eq!((given.flag("banned").unwrap(), given.flag("queued").unwrap()), (true, false));
        let entries: Vec<_> = given.entries().unwrap().into_iter().map(|entry| (entry.key, entry.value)).collect();
        assert_eq!(entries, [("k".to_owned(), "v".to_owned()), ("x".to_owned(), "=".to_owned())]);
        assert_eq!(given.length("bucket").unwrap().map(|length| length.seconds), Some(90));
        assert_eq!(given.instant("from").unwrap(), Some(Timestamp { seconds: 60, nanos: 0 }));
        assert_eq!(given.instant("to").unwrap(), Some(Timestamp { seconds: 60, nanos: 500_000_000 }));
        assert_eq!(given.instant("since").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_reported() {
        let known = ["top", "entry", "flag", "length", "at"];
        let read = |query: &str| Parameters::read(Some(query), &known);
        assert!(read("other=1").unwrap_err().message().contains("top, entry"));
        assert!(read(&"entry=a&".repeat(MAX_PARAMETERS + 1)).unwrap_err().message().contains("at most 64"));
        assert!(read("top=-1").unwrap().number("top").is_err());
        assert!(read("entry=a").unwrap().entries().is_err());
        assert!(read("flag=yes").unwrap().flag("flag").is_err());
        assert!(read("length=5").unwrap().length("length").is_err());
        for at in ["yesterday", "1969-01-01T00:00:00Z", "99999999999999999999"] {
            assert!(read(&format!("at={at}")).unwrap().instant("at").is_err(), "{at}");
        }
    }
}
