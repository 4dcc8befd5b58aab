//! What an import is told.

use super::{Exclude, IngestError};
use crate::format::{CONTROL_NAME, RefName};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The ref to point at the new manifest, and the manifest's name.
    pub name: RefName,
    /// When the manifest was made, RFC 3339. Else the variable `SOURCE_DATE_EPOCH`, else now.
    pub created_at: Option<String>,
    /// Labels of the manifest.
    pub labels: BTreeMap<String, String>,
    /// Threads that hash and store. Else as many as there are processors, and at least two.
    pub threads: Option<NonZeroUsize>,
    /// Allow an entry `.ctl` in the root, which hides behind the control directory unless mounted with `-o ctl=off`.
    pub allow_ctl: bool,
    /// Take directories on other filesystems as empty.
    pub one_file_system: bool,
    /// Paths to leave out.
    pub exclude: Vec<Exclude>,
    /// What to do with the cache of files of a directory that an earlier import read.
    pub remember: Remember,
    /// Limits of what an archive may hold.
    pub limits: Limits,
    /// Accept an archive that stops between two members without the end marker, as one cut there would.
    pub allow_missing_end: bool,
}

/// What to do with the cache of files of a directory that an earlier import read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Remember {
    /// Don't read files that didn't change since, and remember all for the next import.
    #[default]
    Use,
    /// Read all files, and remember them.
    Renew,
    /// Read all files, and leave the cache as it is.
    Nothing,
}

/// What an archive may hold. They bound what is really there, whatever its headers declare.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members and the directories that they imply.
    pub entries: u64,
    /// Bytes of one member's extended header or long name.
    pub header_bytes: u64,
    /// Bytes of one path.
    pub path_bytes: u64,
    /// Bytes that sparse members say are holes, in the whole archive: they cost time but no room in it.
    pub hole_bytes: u64,
}

/// Whether an import refuses an entry called `name` in the root of its source: a mount shows its control directory there.
pub(super) fn check_root_name(name: &[u8], allow_ctl: bool) -> Result<(), IngestError> {
    if name == CONTROL_NAME && !allow_ctl { Err(IngestError::Reserved) } else { Ok(()) }
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 50_000_000, header_bytes: 16 << 20, path_bytes: 1 << 20, hole_bytes: 4 << 40 }
    }
}

impl ImportOptions {
    /// The defaults, for a ref.
    pub fn new(name: RefName) -> Self {
        Self {
            name,
            created_at: None,
            labels: BTreeMap::new(),
            threads: None,
            allow_ctl: false,
            one_file_system: false,
            exclude: Vec::new(),
            remember: Remember::default(),
            limits: Limits::default(),
            allow_missing_end: false,
        }
    }

    pub(crate) fn thread_count(&self) -> NonZeroUsize {
        const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("2 isn't 0");
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(TWO).max(TWO))
    }

    /// The manifest's time, RFC 3339 in UTC.
    pub(crate) fn created(&self) -> Result<String, IngestError> {
        if let Some(text) = &self.created_at {
            let parsed = text.parse::<jiff::Timestamp>();
            return parsed
                .map(|time| time.to_string())
                .map_err(|why| bad_time(text, "given as the creation time", why));
        }
        match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => from_epoch(&text),
            Err(_) => Ok(jiff::Timestamp::now().to_string()),
        }
    }
}

fn from_epoch(text: &str) -> Result<String, IngestError> {
    const ORIGIN: &str = "the variable SOURCE_DATE_EPOCH, in seconds since 1970";
    let seconds: i64 = text.trim().parse().map_err(|why| bad_time(text, ORIGIN, why))?;
    let time = jiff::Timestamp::from_second(seconds).map_err(|why| bad_time(text, ORIGIN, why))?;
    Ok(time.to_string())
}

fn bad_time(text: &str, origin: &'static str, why: impl ToString) -> IngestError {
    IngestError::Time { text: text.to_owned(), origin, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_normalised_to_utc_or_refused() {
        let created = |text: &str| {
            let options =
                ImportOptions { created_at: Some(text.to_owned()), ..ImportOptions::new("a".parse().unwrap()) };
            options.created().ok()
        };
        assert_eq!(created("2024-05-01T14:00:00+02:00").as_deref(), Some("2024-05-01T12:00:00Z"));
        assert_eq!(created("2024-05-01T12:00:00.5Z").as_deref(), Some("2024-05-01T12:00:00.5Z"));
        assert_eq!(created("yesterday"), None);
        assert_eq!(from_epoch("86400").unwrap(), "1970-01-02T00:00:00Z");
        assert!(from_epoch("x").is_err());
    }
}
