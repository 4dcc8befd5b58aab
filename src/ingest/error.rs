//! Why an import or export failed, said so that a person can act on it.

use crate::format::{BadName, FormatError};
use crate::store::StoreError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What an import or export can fail with.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A file of the source couldn't be read.
    #[error("can't {action} `{path}`: {source}; {}", advice(.source))]
    Source {
        /// What was tried.
        action: &'static str,
        /// On what, relative to the source's root.
        path: ShownPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of the source kept changing.
    #[error(
        "`{path}` changed while it was being read ({what}); stop what writes it, import a snapshot of it, or exclude it"
    )]
    Changed {
        /// Which file.
        path: ShownPath,
        /// What was seen to change.
        what: &'static str,
    },
    /// The source holds the store.
    #[error("`{path}` is the store itself, and can't be imported into itself; exclude it")]
    ContainsStore {
        /// Where.
        path: ShownPath,
    },
    /// The source's root holds the name of the control directory.
    #[error(
        "the source has an entry `.ctl` in its root, the name of the control directory of a mount; \
         rename or exclude it, or allow it and mount with `-o ctl=off`"
    )]
    Reserved,
    /// Something that the formats can't hold.
    #[error("`{path}` can't be stored: {source}")]
    Format {
        /// Which entry.
        path: ShownPath,
        /// Why not.
        #[source]
        source: FormatError,
    },
    /// A name that isn't one.
    #[error("`{path}` can't be stored: {source}")]
    Name {
        /// Which entry.
        path: ShownPath,
        /// Why not.
        #[source]
        source: BadName,
    },
    /// The table of linked inodes.
    #[error("the table of hard-linked files can't be stored: {0}")]
    Links(#[source] FormatError),
    /// Something in an archive.
    #[error("bad archive at byte {at}{}: {problem}", within(.member))]
    Archive {
        /// Where its header starts, in the decompressed archive.
        at: u64,
        /// Which member, when it is known.
        member: Option<ShownPath>,
        /// What is wrong.
        problem: super::tar::Problem,
    },
    /// The archive couldn't be read or decompressed.
    #[error("can't read the archive{}: {source}", compressed(.compression))]
    Stream {
        /// How it is compressed.
        compression: super::tar::Compression,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// More than a limit allows.
    #[error("the source has more than {limit} {what}; raise the limit if that is right")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// A time that isn't one.
    #[error("`{text}` ({origin}) is not a time: {why}; write it like 2024-05-01T12:00:00Z")]
    Time {
        /// What was given.
        text: String,
        /// Where: an option or a variable.
        origin: &'static str,
        /// What is wrong.
        why: String,
    },
    /// An exclusion pattern that isn't one.
    #[error("`{pattern}` is not a pattern: {why}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The target of an export.
    #[error("can't {action} {path}: {source}")]
    Target {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The target of an export has something in it.
    #[error("{path} is not empty; export to a new or empty directory, or force it")]
    NotEmpty {
        /// Which directory.
        path: PathBuf,
    },
    /// An entry couldn't be made in the target.
    #[error("can't {action} `{path}` in the target: {source}")]
    Write {
        /// What was tried.
        action: &'static str,
        /// On what, relative to the target.
        path: ShownPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Everything was written, but not every property could be set.
    #[error("{count} properties couldn't be restored (export as root, or without owners): {}", .first.join("; "))]
    Incomplete {
        /// How many.
        count: u64,
        /// The first of them.
        first: Vec<String>,
    },
    /// The output of an export to an archive.
    #[error("can't write the archive: {0}")]
    Output(#[source] io::Error),
    /// An object that the manifest names doesn't fit it.
    #[error("manifest is damaged at `{path}`: {what}")]
    Damaged {
        /// Where.
        path: ShownPath,
        /// What is wrong.
        what: &'static str,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another part of the same operation failed first, and that error is the one to report.
    #[error("stopped because another part failed")]
    Stopped,
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "run as a user who may read it, or exclude it",
        io::ErrorKind::NotFound => {
            "it vanished while the source was being read; stop what changes the source, or exclude it"
        }
        _ => "nothing was skipped: mend or exclude it, then import again",
    }
}

fn within(member: &Option<ShownPath>) -> String {
    member.as_ref().map(|path| format!(", member `{path}`")).unwrap_or_default()
}

fn compressed(compression: &super::tar::Compression) -> String {
    match compression.name() {
        Some(name) => format!(" ({name})"),
        None => String::new(),
    }
}

/// A path as people read it: valid UTF-8 as it is, control characters and other bytes escaped. `/` for the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownPath(Box<[u8]>);

impl ShownPath {
    /// Wraps raw bytes.
    pub fn new(path: &[u8]) -> Self {
        Self(path.into())
    }
}

impl fmt::Display for ShownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || c == '\\' { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_as_people_read_them() {
        let shown = |path: &[u8]| ShownPath::new(path).to_string();
        assert_eq!(shown("etc/größe".as_bytes()), "etc/größe");
        assert_eq!(shown(b"a\xff\n\\b"), "a\\xff\\n\\\\b");
        assert_eq!(shown(b""), "/");
    }
}
