//! Dirty content into the store, by several threads.

use super::SnapshotError;
use crate::format::{Digest, Hasher};
use crate::layer::{BlobRef, DataId};
use crate::store::{Put, Writer};
use crate::vfs::VfsError;
use crate::vfs::freeze::Source;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Content shorter than this in all is taken in by one thread: starting another would take longer.
const PARALLEL_FILES: usize = 16;
const BUFFER: usize = 256 * 1024;

/// What was taken in.
#[derive(Default)]
pub struct Ingested {
    /// Every dirty file's blob.
    pub blobs: HashMap<DataId, BlobRef>,
    /// Those whose data file is sealed, and may become clean.
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
    Ok(match source {
        Source::Sealed(path) => writer.adopt(path, hash(path)?)?,
        Source::Copy(file) => writer.put_file(file, Path::new("the copy of a file that is being written"))?,
    })
}

fn hash(path: &Path) -> Result<Digest, SnapshotError> {
    let failed = |error| VfsError::io(format!("can't read {}", path.display()))(error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error).into()),
        }
    }
}

impl Ingested {
    fn add(&mut self, id: DataId, source: &Source, put: Put) {
        let blob = BlobRef { digest: put.digest, size: put.size };
        self.blobs.insert(id, blob);
        if matches!(source, Source::Sealed(_)) {
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
