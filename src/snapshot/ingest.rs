//! Dirty content into the store, by several threads.

use super::SnapshotError;
use crate::layer::{BlobRef, DataId};
use crate::store::{Put, Writer};
use crate::vfs::freeze::Source;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Content shorter than this in all is taken in by one thread: starting another would take longer.
const PARALLEL_FILES: usize = 16;

/// What was taken in.
#[derive(Default)]
pub struct Ingested {
    /// Every dirty file's blob.
    pub blobs: HashMap<DataId, BlobRef>,
    /// Those whose content is held still, and may become clean.
    pub sealed: HashMap<DataId, BlobRef>,
    /// Blobs that the store didn't have.
    pub new_blobs: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Files whose content the store had.
    pub deduplicated: u64,
}

/// Stores all of `content`.
pub fn ingest(writer: &Writer, content: &BTreeMap<DataId, Source>) -> Result<Ingested, SnapshotError> {
    let all: Vec<(&DataId, &Source)> = content.iter().collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Ok(Ingested::default()));
    let work = || {
        while let Some(&(id, source)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let put = put(writer, source);
            let mut done = done.lock();
            match (&mut *done, put) {
                (Ok(ingested), Ok(put)) => ingested.add(*id, source, put),
                (Ok(_), Err(error)) => *done = Err(error),
                (Err(_), _) => {}
            }
            if done.is_err() {
                return;
            }
        }
    };
    if all.len() < PARALLEL_FILES {
        work();
    } else {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    }
    done.into_inner()
}

fn put(writer: &Writer, source: &Source) -> Result<Put, SnapshotError> {
    writer.check()?;
    Ok(match source {
        Source::Sealed(path) => writer.adopt(path, writer.hash(path)?)?,
        Source::Partial(parts) => writer.put_reader(&mut parts.reader())?,
        Source::Copy(file) => writer.put_file(file, Path::new("the copy of a file that is being written"))?,
    })
}

impl Ingested {
    fn add(&mut self, id: DataId, source: &Source, put: Put) {
        let blob = BlobRef { digest: put.digest, size: put.size };
        self.blobs.insert(id, blob);
        if matches!(source, Source::Sealed(_) | Source::Partial(_)) {
            self.sealed.insert(id, blob);
        }
        if put.existed {
            self.deduplicated += 1;
        } else {
            self.new_blobs += 1;
            self.new_bytes += put.size;
        }
    }
}
