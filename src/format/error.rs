//! Why bytes were refused.

use super::{BadDigest, BadLabel, BadName};

/// Bytes, or values to be encoded, that the format doesn't allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The object doesn't start with the expected magic.
    #[error("not a {expected}: the first bytes differ")]
    Magic {
        /// What was expected.
        expected: &'static str,
    },
    /// A version that this program doesn't know.
    #[error("{what} has version {found}; this program reads version {known}")]
    Version {
        /// What object.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The version known.
        known: u32,
    },
    /// Bytes missing at the end.
    #[error("cut short at byte {at}")]
    Truncated {
        /// Offset where more bytes were expected.
        at: usize,
    },
    /// Bytes that no field accounts for.
    #[error("{extra} bytes too many at the end")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// Entries out of order, or a name twice.
    #[error("entry {index} is out of order or a duplicate")]
    Order {
        /// Index of the later entry.
        index: usize,
    },
    /// A path component that isn't one.
    #[error("entry {index}: {why}")]
    Name {
        /// Index of the entry.
        index: usize,
        /// What is wrong with it.
        why: BadName,
    },
    /// A field with a value that the encoder never writes.
    #[error("entry {index}: bad {field}")]
    Field {
        /// Index of the entry or inode.
        index: usize,
        /// The field.
        field: &'static str,
    },
    /// A field of the header that isn't what follows from the rest.
    #[error("the header's {field} disagrees with the content")]
    Header {
        /// The field.
        field: &'static str,
    },
    /// Extended attributes out of order, duplicate, used by nothing, or over their limits.
    #[error("extended attributes are out of order, duplicate, unused or too long")]
    BadXattrs,
    /// More than the format can count.
    #[error("too many {what} for one object")]
    TooMany {
        /// What is too many.
        what: &'static str,
    },
    /// A manifest that isn't the JSON it should be.
    #[error("not a manifest: {0}")]
    Json(String),
    /// A manifest's field with a value that can't be.
    #[error("manifest: `{field}` {why}")]
    Manifest {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A digest in a manifest.
    #[error(transparent)]
    Digest(#[from] BadDigest),
    /// A ref or layer name.
    #[error(transparent)]
    Label(#[from] BadLabel),
}
