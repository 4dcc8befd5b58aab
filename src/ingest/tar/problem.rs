//! What can be wrong with an archive.

use crate::format::{BadName, FormatError};
use crate::ingest::ShownPath;

/// What is wrong with an archive, or with one member of it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("the archive is empty, not even an end marker is there; check what should have written it")]
    Empty,
    #[error("this is not a tar archive (it may be plain, or compressed by gzip, zstd or xz)")]
    NotTar,
    #[error("this is {0}, which isn't read here; turn it into a tar archive, plain or compressed by gzip, zstd or xz")]
    Unsupported(&'static str),
    #[error("cut short: the archive ends in the middle of {0}")]
    Truncated(&'static str),
    #[error(
        "the end marker is missing, so the archive may be cut short; if it is known to be whole, allow a missing end marker"
    )]
    NoEnd,
    #[error("a block of zeros stands where a header should: the archive is damaged")]
    LoneZeros,
    #[error("the header's checksum is wrong: the archive is damaged")]
    Checksum,
    #[error("the header's {0} is not a number that makes sense")]
    Number(&'static str),
    #[error("an extended header is malformed")]
    Records,
    #[error("a global extended header sets `{0}`, which can't hold for every member")]
    Global(String),
    #[error("the extended header's `{0}` has a bad value")]
    Record(String),
    #[error("an extended header or long name is longer than {0} bytes; raise the limit if that is right")]
    HeaderTooLong(u64),
    #[error("its path is longer than {0} bytes; raise the limit if that is right")]
    PathTooLong(u64),
    #[error("an extended header or long name has no member after it")]
    Dangling,
    #[error("its type {0} is unknown, or not supported")]
    Type(String),
    #[error("bad map of a sparse file: {0}")]
    Sparse(&'static str),
    #[error(
        "its ACL names a {0} by name (`{1}`), which has no meaning here; GNU tar writes numbers with --xattrs --xattrs-include='*'"
    )]
    AclName(&'static str, String),
    #[error("its ACL `{0}` can't be read")]
    Acl(String),
    #[error("its path has `..`, which could lead out of the tree")]
    Escapes,
    #[error("its path has a part that is no name: {0}")]
    Name(BadName),
    #[error("it names no file")]
    NoName,
    #[error("it names the root, which must be a directory")]
    RootType,
    #[error("`{0}`, a part of its path, is a {1} in this archive, and is never followed")]
    Beneath(ShownPath, &'static str),
    #[error("it would replace a directory that isn't empty")]
    OverDirectory,
    #[error("the target of a hard link, `{0}`, isn't in the archive before it")]
    LinkTarget(ShownPath),
    #[error("the target of a hard link, `{0}`, is a directory")]
    LinkDirectory(ShownPath),
    #[error("the target of a symbolic link is empty or longer than 4095 bytes")]
    SymlinkTarget,
    #[error("it can't be stored: {0}")]
    Format(FormatError),
}
