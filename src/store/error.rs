//! What a store operation can fail with, for people and for programs.

use super::resolve::PREFIX_MIN;
use crate::format::{Digest, FormatError};
use crate::sys::failure;
use std::io;
use std::path::{Path, PathBuf};

/// What a store operation can fail with. Each error names the path or digest, and says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("can't {action} {path}: {source}{}", remedy(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing there, or not a store.
    #[error("{path} is not a cairnfs store; make one with `cairnfs --store {path} init`, or name another with --store")]
    NoStore {
        /// Where one was expected.
        path: PathBuf,
    },
    /// `init` on a folder with other things in it.
    #[error("{path} holds other files (`{found}`) and is not a cairnfs store; name an empty or a new folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// One thing in it.
        found: String,
    },
    /// A store of another format version.
    #[error(
        "the store at {path} has format version {found}; this program knows version {known}; \
         use a cairnfs that knows version {found} (nothing was changed)"
    )]
    UnknownVersion {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The version this program knows.
        known: u64,
    },
    /// The store's `format` file isn't what it should be.
    #[error("{path} can't be understood: {why}; if this is a cairnfs store, restore the file from a backup")]
    BadFormatFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The store can be read but not written.
    #[error("the store at {path} can't be written: {source}; run as its owner, or mount its filesystem writable")]
    NotWritable {
        /// The store, or the place in it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An object that something names isn't there.
    #[error("object {digest} is missing from the store at {path}; import its source again")]
    MissingObject {
        /// The object.
        digest: Digest,
        /// The store.
        path: PathBuf,
    },
    /// An object whose bytes aren't what its name says, or that can't be decoded.
    #[error("object {digest} at {path} is corrupt: {why}; remove it, then import its source again")]
    CorruptObject {
        /// The object.
        digest: Digest,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A person named an object that is whole, but no manifest.
    #[error(
        "object {digest} is no manifest that this program can read: {why}; `cairnfs cat {digest}` prints what it is"
    )]
    NotManifest {
        /// The object.
        digest: Digest,
        /// Why it isn't one.
        why: String,
    },
    /// A value that can't be encoded.
    #[error("can't encode {what}: {source}")]
    Encode {
        /// What kind of object.
        what: &'static str,
        /// Why not.
        #[source]
        source: FormatError,
    },
    /// No ref or manifest by that name.
    #[error("no ref or manifest `{name}`{}", suggest_ref(name, near))]
    NoRef {
        /// What was asked for.
        name: String,
        /// Refs with names near it.
        near: Vec<String>,
    },
    /// The start of a digest that several manifests share.
    #[error("`{text}` is the start of {count} digests; give more digits")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many match.
        count: usize,
    },
    /// A ref file that can't be understood.
    #[error("the ref at {path} can't be understood: {why}; write a manifest's digest into it, or remove it")]
    BadRef {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A line of a ref's history that can't be understood.
    #[error("line {line} of the history at {path} can't be understood: {why}; remove the line")]
    BadHistory {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A ref name that is a folder of another's, or the other way round.
    #[error(
        "ref `{name}` can't be made beside ref `{other}`: one name may not be the start of another's path; choose another name"
    )]
    RefConflict {
        /// The name refused.
        name: String,
        /// The ref in the way.
        other: String,
    },
    /// A ref whose history has nothing to take back.
    #[error(
        "no move or removal of ref `{name}` is left to take back; `cairnfs refs history {name}` lists what became of it"
    )]
    NothingToUndo {
        /// The ref.
        name: String,
    },
    /// A ref that was moved but what it named is collected since.
    #[error(
        "ref `{name}` can't be taken back to {digest}: it was collected since ({source}); import its source again, or point the ref at another manifest with `cairnfs refs set`"
    )]
    UndoTooLate {
        /// The ref.
        name: String,
        /// What it named.
        digest: Digest,
        /// What is missing.
        #[source]
        source: Box<StoreError>,
    },
    /// No layer by that name.
    #[error("no layer `{name}`{}", suggest(near))]
    NoLayer {
        /// What was asked for.
        name: String,
        /// Layers with names near it.
        near: Vec<String>,
    },
    /// A layer by that name is there.
    #[error("layer `{name}` exists already; use it, or choose another name")]
    LayerExists {
        /// The layer.
        name: String,
    },
    /// Another process has the layer.
    #[error("layer `{name}` is in use by {holder}; unmount it first, or use another layer")]
    LayerBusy {
        /// The layer.
        name: String,
        /// Who holds it: process, and where it is mounted.
        holder: String,
    },
    /// Something in the folder of layers that is none.
    #[error("{path} can't be a layer, by its name; move it elsewhere")]
    NotLayer {
        /// What is there.
        path: PathBuf,
    },
    /// A `layer.json` that is missing or can't be understood.
    #[error(
        "the layer's description at {path} can't be understood: {why}; restore it, or remove the layer with `cairnfs rm layer {name}`"
    )]
    BadLayer {
        /// The layer.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A layer's folder that was copied or renamed by hand.
    #[error(
        "the folder of layer `{name}` has another layer's name in {path}: it is a copy of `{of}`, or was renamed; if nothing wrote to it while it was \
         copied, write `\"name\": \"{name}\"` there to use it, otherwise remove it with `cairnfs rm layer {name}`"
    )]
    CopiedLayer {
        /// The folder's name.
        name: String,
        /// The layer's.
        of: String,
        /// The description.
        path: PathBuf,
    },
    /// It was told to stop, by [`super::Course`].
    #[error("it was cancelled: nothing was published, and all is as it was; start it again")]
    Stopped,
    /// A live owner's lease that can't be understood.
    #[error("the lease at {path} is held by a live process but can't be understood: {why}; end that process first")]
    BadLease {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What to do about a failing disk.
fn remedy(source: &io::Error) -> &'static str {
    match source {
        full if failure::is_full(full) => "; make room on the filesystem: `cairnfs gc` frees what nothing names",
        lost if failure::is_lost(lost) => "; look at the kernel log for a failing device",
        _ => "",
    }
}

/// As [`suggest`], and what may be wrong with a digest.
fn suggest_ref(name: &str, near: &[String]) -> String {
    let digits = name.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
    if near.is_empty() && digits && (4..PREFIX_MIN).contains(&name.len()) {
        return format!("; of a digest give at least the first {PREFIX_MIN} digits");
    }
    suggest(near)
}

fn suggest(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!("; did you mean `{}`?", names.join("` or `")),
    }
}

/// Classes of failure that programs tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorClass {
    /// Tried and failed.
    Failed,
    /// What was named isn't there.
    NotFound,
    /// Can't be done now, or not here.
    Refused,
    /// Something stored is missing or damaged.
    Corrupt,
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::NotWritable { path: path.to_owned(), source },
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    /// Whether nothing can be written to the store, or no more: a full disk, a read-only filesystem, or no permission.
    pub fn is_unwritable(&self) -> bool {
        matches!(self, Self::NotWritable { .. }) || self.is_full()
    }

    /// Whether it failed for want of room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if failure::is_full(source))
    }

    /// Which class the error is of.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoStore { .. } | Self::NoRef { .. } | Self::NoLayer { .. } | Self::NotManifest { .. } => {
                ErrorClass::NotFound
            }
            Self::Ambiguous { .. } | Self::NothingToUndo { .. } | Self::UndoTooLate { .. } => ErrorClass::NotFound,
            Self::NotEmpty { .. } | Self::UnknownVersion { .. } | Self::NotWritable { .. } => ErrorClass::Refused,
            Self::RefConflict { .. } | Self::LayerExists { .. } | Self::LayerBusy { .. } => ErrorClass::Refused,
            Self::BadFormatFile { .. } | Self::MissingObject { .. } | Self::CorruptObject { .. } => ErrorClass::Corrupt,
            Self::BadRef { .. } | Self::BadHistory { .. } | Self::NotLayer { .. } | Self::BadLayer { .. } => {
                ErrorClass::Corrupt
            }
            Self::CopiedLayer { .. } => ErrorClass::Corrupt,
            Self::Io { .. } | Self::Encode { .. } | Self::BadLease { .. } | Self::Stopped => ErrorClass::Failed,
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, StoreError>;

/// Turns an [`io::Result`] into one that names what was tried on which path.
pub(super) trait Context<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| StoreError::io(action, path, source))
    }
}

/// `None` for a file that isn't there.
pub(super) fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
