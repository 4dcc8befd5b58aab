//! Blobs on their way out.

use crate::format::Digest;
use crate::ingest::IngestError;
use crate::ingest::trail::Trail;
use crate::store::Store;
use std::fs::File;

/// Opens a file's blob, which must be as long as the tree says.
pub(super) fn open(store: &Store, digest: Digest, size: u64, trail: &Trail) -> Result<File, IngestError> {
    let blob = store.open_object(digest)?;
    let stat = blob.metadata();
    let length = stat.map_err(|source| failed("read the blob of", trail, source))?.len();
    if length != size {
        return Err(IngestError::Damaged { path: trail.shown(), what: "its blob has another length" });
    }
    Ok(blob)
}

/// An error about an entry of the target, or its blob.
pub(super) fn failed(action: &'static str, trail: &Trail, source: std::io::Error) -> IngestError {
    IngestError::Write { action, path: trail.shown(), source }
}
