//! Putting objects into the store.
//!
//! **Same content, many writers.** An object is written where nobody sees it, then linked to its name if that is free; who comes second
//! relies on the first one's. Nothing is locked for a new object.
//!
//! **Relying on an object that is there.** Its time is set to now under the shared store lock, so that from then on a sweep, which looks at
//! times under the exclusive lock, keeps it for this writer's lease. An object already not older than the lease needs neither, nor one
//! that a manifest reaches which the lease keeps ([`Writer::keep`]).
//!
//! **Power cuts.** An object gets its name before its bytes are on disk (one [`Writer::barrier`] for all is far cheaper), so one published
//! shortly before a power cut may come back short or full of zeros. Nothing refers to it, for a ref is set after the barrier; but a later
//! writer of the same content would find it. So:
//! * an object of another length than the content is torn, always, and is replaced;
//! * a writer's lease is on disk before its first object gets a name, and is removed only after a barrier. A dead writer's lease thus tells
//!   since when objects are suspect; a writer that finds one hashes what it would rely on before it does, and replaces what is torn;
//! * a collection verifies the suspects that it keeps, and then removes the dead leases.

use super::course::Course;
use super::error::{Context, Result, StoreError, found};
use super::lease::{Lease, LeaseKind};
use super::long::Long;
use super::publish::{Pending, set_mode};
use super::reading::{Piece, hash, pieces};
use super::refs::{self, Operation};
use super::scratch::{self, with_scratch};
use super::{Put, Store};
use crate::format::{Digest, Manifest, RefName};
use crate::sys::{reflink, sparse, syncfs, times};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Files at least this long start for the disk at once, while others are still hashed, so that the barrier finds less to do.
const START_MIN: u64 = 64 * 1024;
/// Content longer than this is reflinked where it can be.
const REFLINK_MIN: u64 = 128 * 1024;

/// Puts objects into the store under a writing lease. Shared by threads (`&self` everywhere).
#[derive(Debug)]
pub struct Writer {
    store: Store,
    lease: Lease,
    /// Opened before anything was written, so that a barrier hears of every failed write.
    disk: File,
    /// Objects put, or relied on, so far.
    put: AtomicU64,
    /// How many of them the last barrier made durable; nothing once a barrier has failed, for the kernel tells of lost writes once only.
    synced: Mutex<Option<u64>>,
    lease_durable: Mutex<bool>,
    /// Manifests that were put, and so are made durable by a barrier.
    manifests: Mutex<Vec<Digest>>,
    /// Objects not older than this are hashed before they are relied on.
    suspect_since: Option<i64>,
    /// Devices that reflinks were tried from in vain.
    cannot_reflink: Mutex<Vec<u64>>,
    course: Arc<Course>,
}

enum Found {
    Whole,
    Torn,
    Nothing,
}

/// What a look at an object finds; one that is young is kept by this writer's lease.
enum Look {
    Whole { young: bool },
    Torn,
    Nothing,
}

impl Store {
    /// Takes a writing lease: from now until the writer is dropped, a collection keeps every object newer than this moment.
    pub fn writer(&self, purpose: &str) -> Result<Writer> {
        let suspect_since = self.writers_cut_off()?;
        let disk = File::open(self.path()).context("open", self.path())?;
        let lease = Lease::take(self, LeaseKind::Writer, purpose, &[])?;
        Ok(Writer {
            store: self.clone(),
            lease,
            disk,
            put: AtomicU64::new(0),
            synced: Mutex::new(Some(0)),
            lease_durable: Mutex::new(false),
            manifests: Mutex::default(),
            suspect_since,
            cannot_reflink: Mutex::default(),
            course: Arc::default(),
        })
    }
}

impl Writer {
    /// Has `course` tell how far content is taken in, and stop it.
    #[must_use]
    pub fn on_course(mut self, course: Arc<Course>) -> Self {
        self.course = course;
        self
    }

    /// [`StoreError::Stopped`] once the work shall stop.
    pub fn check(&self) -> Result<()> {
        self.course.step(0)
    }

    /// The digest of a file's content.
    pub fn hash(&self, path: &Path) -> Result<Digest> {
        hash(&File::open(path).context("open", path)?, path, &self.course)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Stores bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Put> {
        self.put_hashed(bytes, Digest::of(bytes))
    }

    /// Stores bytes whose digest the caller has just made.
    pub(crate) fn put_hashed(&self, bytes: &[u8], digest: Digest) -> Result<Put> {
        let size = bytes.len() as u64;
        if let Found::Whole = self.find(digest, size)? {
            return Ok(self.done(digest, size, true));
        }
        let pending = Pending::create(&self.store)?;
        sparse_whole(&pending.file, bytes).context("write an object to", self.store.path())?;
        self.publish(pending, digest, size)
    }

    /// Relies on an object that a manifest reaches which this writer keeps ([`Writer::keep`]), and which a ref has named: such a one is durable,
    /// and stays. `None` when it isn't there all the same, or is of another size.
    pub fn rely_on_kept(&self, digest: Digest, size: u64) -> Result<Option<Put>> {
        let found = self.look(&self.store.object_path(digest), digest, size)?;
        Ok(matches!(found, Look::Whole { .. }).then(|| self.done(digest, size, true)))
    }

    /// Stores a stream, hashing while it is written.
    pub fn put_reader(&self, from: &mut dyn Read) -> Result<Put> {
        self.put_stream(from, Path::new("the source"))
    }

    /// Stores a regular file's content, as long as the file is now, reflinked where the filesystem can; `path` names it in errors. Moves the
    /// file's position.
    /// A file that changes meanwhile gives an object of what was read, under the name of what was read.
    pub fn put_file(&self, from: &File, path: &Path) -> Result<Put> {
        let stat = from.metadata().context("stat", path)?;
        if stat.len() > REFLINK_MIN && !self.cannot_reflink.lock().contains(&stat.dev()) {
            if let Some(put) = self.put_reflink(from, path)? {
                return Ok(put);
            }
            self.cannot_reflink.lock().push(stat.dev());
        }
        if stat.len() < scratch::SIZE as u64 {
            return self.put_stream(&mut Positioned { file: from, at: 0, end: stat.len() }, path);
        }
        let mut long = Long::new(&self.store, &self.course)?;
        with_scratch(|buffer| pieces(from, stat.len(), buffer, &mut |piece| long.add(piece), path))?;
        self.publish_long(long)
    }

    /// Stores a file that is already on the store's filesystem by hard link, so that its inode stays: the file becomes mode 0444 and immutable
    /// content. If the object exists, nothing is linked. The file at `path` stays for the caller to remove. `digest` must be what the caller
    /// hashed of it. Where it can't be linked, it is copied.
    pub fn adopt(&self, path: &Path, digest: Digest) -> Result<Put> {
        let file = File::open(path).context("open", path)?;
        let size = file.metadata().context("stat", path)?.len();
        let state = self.find(digest, size)?;
        if let Found::Whole = state {
            return Ok(self.done(digest, size, true));
        }
        self.before_publish()?;
        self.seal(&file).context("set mode and time of", path)?;
        let linked = match state {
            Found::Torn => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            _ => fs::hard_link(path, self.store.object_path(digest)),
        };
        match linked {
            Ok(()) => Ok(self.done(digest, size, false)),
            Err(_) => match self.find(digest, size)? {
                Found::Whole => Ok(self.done(digest, size, true)),
                _ => self.adopt_by_copy(&file, path, digest),
            },
        }
    }

    fn adopt_by_copy(&self, file: &File, path: &Path, digest: Digest) -> Result<Put> {
        let put = self.put_file(file, path)?;
        if put.digest == digest {
            return Ok(put);
        }
        let why = format!("its content is {}, not {digest} as it was before", put.digest);
        Err(StoreError::io("adopt", path, io::Error::other(why)))
    }

    /// Encodes, stores and returns a manifest.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<Digest> {
        manifest.check().map_err(|source| StoreError::Encode { what: "the manifest", source })?;
        let digest = self.put_bytes(&manifest.encode())?.digest;
        self.manifests.lock().push(digest);
        Ok(digest)
    }

    /// Makes all that was put, or found to be there already, durable: one `syncfs` of the store's filesystem.
    pub fn barrier(&self) -> Result<()> {
        // Held throughout: who finds nothing to sync must not return before the sync of another thread is done.
        let mut synced = self.synced.lock();
        let put = self.put.load(Ordering::Acquire);
        if *synced == Some(put) {
            return Ok(());
        }
        let outcome = match *synced {
            Some(_) => syncfs::syncfs(&self.disk),
            None => Err(io::Error::other("an earlier attempt failed, and what was written may be lost")),
        };
        *synced = outcome.as_ref().ok().map(|()| put);
        outcome.context("sync", self.store.path())
    }

    /// Points `name` at a manifest, atomically and durably; remembers what it named before, and returns it. Everything that was put is made
    /// durable first. A manifest that this writer didn't put must be in the store, or in its trash.
    pub fn set_ref(&self, name: &RefName, manifest: Digest) -> Result<Option<Digest>> {
        self.lease.keep(manifest)?;
        if !self.manifests.lock().contains(&manifest) {
            self.count();
        }
        self.barrier()?;
        refs::change(&self.store, name, Some(manifest), Operation::Set)
    }

    /// Also keeps `manifest` and all that it reaches while this writer lives. What a collection has put into the trash of it comes back.
    pub fn keep(&self, manifest: Digest) -> Result<()> {
        self.lease.keep(manifest)
    }

    fn put_stream(&self, from: &mut dyn Read, path: &Path) -> Result<Put> {
        with_scratch(|buffer| {
            let length = fill(from, buffer).context("read", path)?;
            if length < buffer.len() {
                return self.put_bytes(&buffer[..length]);
            }
            self.put_long(buffer, from, path)
        })
    }

    /// `buffer` is full of the first bytes.
    fn put_long(&self, buffer: &mut [u8], from: &mut dyn Read, path: &Path) -> Result<Put> {
        let mut long = Long::new(&self.store, &self.course)?;
        let mut length = buffer.len();
        while length > 0 {
            long.add(Piece::Bytes(&buffer[..length]))?;
            length = fill(from, buffer).context("read", path)?;
        }
        self.publish_long(long)
    }

    fn publish_long(&self, long: Long<'_>) -> Result<Put> {
        let (digest, size, pending) = long.finish()?;
        match pending {
            Ok(pending) => self.publish(pending, digest, size),
            // without room for it
            Err(error) => match self.find(digest, size)? {
                Found::Whole => Ok(self.done(digest, size, true)),
                _ => Err(error),
            },
        }
    }

    /// `None` when these two filesystems share no extents. The clone is hashed, not the source, which may change.
    fn put_reflink(&self, from: &File, path: &Path) -> Result<Option<Put>> {
        let pending = Pending::create(&self.store)?;
        if !reflink::reflink(from, &pending.file).context("reflink", path)? {
            return Ok(None);
        }
        let at = self.store.path();
        let size = pending.file.metadata().context("stat an object in", at)?.len();
        let digest = hash(&pending.file, at, &self.course)?;
        if let Found::Whole = self.find(digest, size)? {
            return Ok(Some(self.done(digest, size, true)));
        }
        self.publish(pending, digest, size).map(Some)
    }

    /// Looks for a whole object.
    fn look(&self, path: &Path, digest: Digest, size: u64) -> Result<Look> {
        let Some(stat) = found(fs::symlink_metadata(path)).context("stat", path)? else { return Ok(Look::Nothing) };
        if !stat.is_file() || stat.len() != size {
            return Ok(Look::Torn);
        }
        if self.suspect_since.is_some_and(|since| stat.mtime() >= since) {
            match found(File::open(path)).context("open", path)? {
                Some(file) if hash(&file, path, &self.course)? == digest => {}
                Some(_) => return Ok(Look::Torn),
                None => return Ok(Look::Nothing),
            }
        }
        Ok(Look::Whole { young: stat.mtime() >= self.lease.started() })
    }

    /// Looks for a whole object that can be relied on, and makes sure that it stays.
    fn find(&self, digest: Digest, size: u64) -> Result<Found> {
        let path = self.store.object_path(digest);
        match self.look(&path, digest, size)? {
            Look::Whole { young: true } => return Ok(Found::Whole),
            Look::Whole { young: false } => {}
            Look::Torn => return Ok(Found::Torn),
            Look::Nothing => return Ok(Found::Nothing),
        }
        let _locked = self.store.shared()?;
        let (secs, nanos) = self.now();
        let touched = found(times::set_mtime(&path, secs, nanos)).context("set the time of", &path)?;
        Ok(if touched.is_some() { Found::Whole } else { Found::Nothing })
    }

    fn publish(&self, pending: Pending, digest: Digest, size: u64) -> Result<Put> {
        self.before_publish()?;
        let path = self.store.object_path(digest);
        self.seal(&pending.file).context("set mode and time of", &path)?;
        if size >= START_MIN {
            syncfs::start(&pending.file);
        }
        loop {
            if pending.publish_new(&path)? {
                return Ok(self.done(digest, size, false));
            }
            match self.find(digest, size)? {
                Found::Whole => return Ok(self.done(digest, size, true)),
                Found::Nothing => {}
                Found::Torn => break,
            }
        }
        // The lock: a sweep that has looked at the torn one must not take the whole one for it.
        let _locked = self.store.shared()?;
        pending.publish_over(&self.store, &path)?;
        Ok(self.done(digest, size, false))
    }

    /// What must be so before an object gets its name.
    fn before_publish(&self) -> Result<()> {
        let mut durable = self.lease_durable.lock();
        if !*durable {
            self.lease.make_durable()?;
            *durable = true;
        }
        Ok(())
    }

    /// Counts an object that the next barrier must cover, after it got its name.
    fn count(&self) {
        self.put.fetch_add(1, Ordering::Release);
    }

    fn done(&self, digest: Digest, size: u64, existed: bool) -> Put {
        self.count();
        Put { digest, size, existed }
    }

    /// Mode 0444, and a time that this writer's lease covers whatever the clock does.
    fn seal(&self, file: &File) -> io::Result<()> {
        set_mode(file, 0o444)?;
        let (secs, nanos) = self.now();
        let since = Duration::new(secs.unsigned_abs(), u32::try_from(nanos).unwrap_or(0));
        file.set_modified(UNIX_EPOCH + since)
    }

    fn now(&self) -> (i64, i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let secs = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if secs < self.lease.started() { (self.lease.started(), 0) } else { (secs, now.subsec_nanos().into()) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without the barrier, the lease stays behind to tell later writers what may be torn.
        if self.barrier().is_err() {
            self.lease.abandon();
        }
    }
}

/// Writes all of a file, long zeros as holes.
fn sparse_whole(file: &File, bytes: &[u8]) -> io::Result<()> {
    sparse::write(file, 0, bytes)?;
    // Only a hole at the end leaves the length short.
    if bytes.last() == Some(&0) { file.set_len(bytes.len() as u64) } else { Ok(()) }
}

/// Reads until `buffer` is full or the source ends.
fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Reads a file from one offset to another, leaving its position alone.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let got = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}
