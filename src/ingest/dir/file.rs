//! Stores one regular file, by a worker.
//!
//! A file's metadata and content belong together only if nothing changed between looking at it and having read it: else it is read again, and after
//! a few attempts the import fails. Whatever happens, a blob is named by the bytes that were stored.

use crate::format::{Content, Digest, Meta, Xattrs};
use crate::ingest::builder::{Place, TreeBuilder};
use crate::ingest::known::Known;
use crate::ingest::trail::Trail;
use crate::ingest::{IngestError, Progress, Tally, stat};
use crate::store::{Put, Writer};
use crate::sys::at::{self, FileType, Stat};
use crate::sys::xattrs::{self, Of};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Files up to this long are hashed in memory, so that one that the store has costs no write.
const SMALL: u64 = 1 << 20;
const ATTEMPTS: u32 = 4;

/// What a worker does.
pub(super) enum Job {
    /// Reads a file and stores it.
    Read(FileJob),
    /// Takes files of one directory whose content the store has, unless it is gone.
    Known(Vec<KnownFile>),
}

/// A file that didn't change since an earlier import read it.
pub(super) struct KnownFile {
    pub(super) file: FileJob,
    pub(super) digest: Digest,
    pub(super) xattrs: Xattrs,
}

/// A file to store.
pub(super) struct FileJob {
    pub(super) dir: Arc<OwnedFd>,
    pub(super) parent: Trail,
    pub(super) name: Box<[u8]>,
    pub(super) seen: Stat,
    pub(super) place: Place,
}

/// What a worker needs.
pub(super) struct FileWorker<'a> {
    pub(super) writer: &'a Writer,
    pub(super) builder: &'a TreeBuilder<'a>,
    pub(super) tally: &'a Tally,
    pub(super) known: &'a Known,
    pub(super) progress: &'a Progress,
}

impl FileWorker<'_> {
    /// Fills the places of files that are known.
    pub(super) fn take_known(&self, buffer: &mut Vec<u8>, files: Vec<KnownFile>) -> Result<(), IngestError> {
        for KnownFile { file, digest, xattrs } in files {
            match self.writer.rely_on_kept(digest, file.seen.size)? {
                None => self.read(buffer, file)?,
                Some(put) => {
                    self.known.used(&file.seen, digest, &xattrs);
                    self.fill(file.place, stat::meta_with(&file.seen, xattrs), &put)?;
                }
            }
        }
        Ok(())
    }

    fn fill(&self, place: Place, meta: Meta, put: &Put) -> Result<(), IngestError> {
        self.tally.count_blob(put);
        self.progress.add_entry();
        self.progress.add_bytes(put.size);
        self.builder.fill(place, meta, Content::File { digest: put.digest, size: put.size })
    }

    /// Stores the file and fills its place.
    pub(super) fn read(&self, buffer: &mut Vec<u8>, job: FileJob) -> Result<(), IngestError> {
        let mut seen = job.seen;
        for _ in 0..ATTEMPTS {
            let file = at::open_read_at(&job.dir, &job.name).map_err(|source| job.failed("open", source))?;
            if let Some((meta, put)) = self.attempt(buffer, &job, &file, &seen)? {
                return self.fill(job.place, meta, &put);
            }
            seen = at::stat_fd(&file).map_err(|source| job.failed("stat", source))?;
            if seen.file_type != FileType::Regular || (seen.dev, seen.ino) != (job.seen.dev, job.seen.ino) {
                return Err(job.changed("another file took its name"));
            }
        }
        Err(job.changed("its size, time or attributes differ after reading"))
    }

    /// `None`: the file changed.
    fn attempt(
        &self,
        buffer: &mut Vec<u8>,
        job: &FileJob,
        file: &File,
        seen: &Stat,
    ) -> Result<Option<(Meta, Put)>, IngestError> {
        let settled = self.known.is_settled(file, seen);
        let attributes = xattrs::read_all(Of::Fd(file.as_fd()));
        let attributes = attributes.map_err(|source| job.failed("read the attributes of", source))?;
        let put = if seen.size <= SMALL {
            let whole = read_small(file, seen.size, buffer).map_err(|source| job.failed("read", source))?;
            if !whole {
                return Ok(None);
            }
            self.writer.put_bytes(buffer)?
        } else {
            self.writer.put_file(file, &job.path())?
        };
        let after = at::stat_fd(file).map_err(|source| job.failed("stat", source))?;
        if put.size != after.size || !stat::unchanged(seen, &after) {
            return Ok(None);
        }
        let meta = stat::meta(&after, attributes);
        let meta = meta.map_err(|source| IngestError::Format { path: job.trail().shown(), source })?;
        if settled && after.ctime == seen.ctime {
            self.known.remember(&after, put.digest, &meta.xattrs);
        }
        Ok(Some((meta, put)))
    }
}

/// Reads the first `size` bytes of a file into `buffer`; false if it has fewer. Whether it has more, a look at it afterwards tells; but one of a
/// filesystem like proc says that it is empty, and isn't.
fn read_small(file: &File, size: u64, buffer: &mut Vec<u8>) -> io::Result<bool> {
    if size == 0 {
        buffer.clear();
        return file.read_at(&mut [0], 0).map(|got| got == 0);
    }
    buffer.resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
    match file.read_exact_at(buffer, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

impl FileJob {
    fn trail(&self) -> Trail {
        self.parent.join(&self.name)
    }

    fn path(&self) -> PathBuf {
        at::to_path(self.trail().bytes())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> IngestError {
        IngestError::Source { action, path: self.trail().shown(), source }
    }

    fn changed(&self, what: &'static str) -> IngestError {
        IngestError::Changed { path: self.trail().shown(), what }
    }
}
