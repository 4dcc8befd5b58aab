//! Walks a source directory: sorted, one level of the stack per directory, without ever following a symbolic link.

use super::file::{FileJob, Job, KnownFile};
use crate::format::{Content, FormatError, Meta, NameBuf};
use crate::ingest::builder::{DirId, Place, TreeBuilder};
use crate::ingest::dirs::DirStack;
use crate::ingest::known::Known;
use crate::ingest::links::LinkId;
use crate::ingest::options::check_root_name;
use crate::ingest::pool::Pool;
use crate::ingest::trail::Trail;
use crate::ingest::{ImportOptions, IngestError, Progress, stat};
use crate::sys::at::{self, FileType, Stat};
use crate::sys::xattrs::{self, Of};
use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

const ATTEMPTS: u32 = 4;
/// Known files of one directory that a worker is given at once.
const BATCH: usize = 256;

/// A walk in progress.
pub(super) struct Walk<'a> {
    options: &'a ImportOptions,
    builder: &'a TreeBuilder<'a>,
    known: &'a Known,
    pool: &'a Pool<'a, Job>,
    progress: &'a Progress,
    /// Device and number of the store's folder, which must not be met.
    store: Option<(u64, u64)>,
    device: u64,
    dirs: DirStack,
    frames: Vec<Frame>,
    links: HashMap<(u64, u64), LinkId>,
    /// Known files of the directory where the walk is.
    batch: Vec<KnownFile>,
}

struct Frame {
    id: DirId,
    trail: Trail,
    names: std::vec::IntoIter<NameBuf>,
}

/// A directory at one moment.
struct Listing {
    stat: Stat,
    meta: Meta,
    names: Vec<NameBuf>,
}

impl<'a> Walk<'a> {
    /// Reads the root.
    pub(super) fn start(
        root: OwnedFd,
        options: &'a ImportOptions,
        builder: &'a TreeBuilder<'a>,
        known: &'a Known,
        pool: &'a Pool<'a, Job>,
        progress: &'a Progress,
        store: Option<(u64, u64)>,
    ) -> Result<Self, IngestError> {
        let trail = Trail::default();
        let listing = list(&root, &trail)?;
        let device = listing.stat.dev;
        let dirs = DirStack::new(root).map_err(failed("open", &trail))?;
        let (frames, links, batch) = (Vec::new(), HashMap::new(), Vec::new());
        let mut walk = Self { options, builder, known, pool, progress, store, device, dirs, frames, links, batch };
        walk.refuse_store(&listing.stat, &trail)?;
        walk.begin(None, listing, trail);
        Ok(walk)
    }

    /// Walks all of it.
    pub(super) fn run(mut self) -> Result<(), IngestError> {
        while let Some(frame) = self.frames.last_mut() {
            match frame.names.next() {
                Some(name) => self.visit(name)?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, parent: Option<(DirId, NameBuf)>, listing: Listing, trail: Trail) {
        let id = self.builder.open_dir(parent, listing.meta, trail.clone());
        self.frames.push(Frame { id, trail, names: listing.names.into_iter() });
    }

    fn leave(&mut self) -> Result<(), IngestError> {
        self.submit_batch()?;
        if let Some(frame) = self.frames.pop() {
            self.dirs.pop().map_err(failed("leave", &frame.trail))?;
            self.builder.close_dir(frame.id)?;
        }
        Ok(())
    }

    fn here(&self) -> (DirId, &Trail) {
        let frame = self.frames.last().expect("only run calls visit, with a frame on the stack");
        (frame.id, &frame.trail)
    }

    fn visit(&mut self, name: NameBuf) -> Result<(), IngestError> {
        let (dir, parent) = self.here();
        if self.is_excluded(parent, &name) {
            return Ok(());
        }
        if self.frames.len() == 1 {
            check_root_name(name.as_bytes(), self.options.allow_ctl)?;
        }
        let stat = at::stat_at(self.dirs.top(), name.as_bytes());
        let stat = stat.map_err(|source| failed("stat", &parent.join(name.as_bytes()))(source))?;
        match stat.file_type {
            FileType::Directory => self.enter(dir, name),
            _ if stat.nlink > 1 => self.linked(dir, name, &stat),
            FileType::Regular => {
                let place = self.builder.reserve(dir, name.clone());
                self.submit(name, stat, place)
            }
            _ => {
                let (meta, content) = self.inode(&name, &stat)?;
                self.builder.add(dir, name, meta, content);
                self.progress.add_entry();
                Ok(())
            }
        }
    }

    fn is_excluded(&self, parent: &Trail, name: &NameBuf) -> bool {
        if self.options.exclude.is_empty() {
            return false;
        }
        let path = parent.join(name.as_bytes()).bytes();
        self.options.exclude.iter().any(|exclude| exclude.matches(&path))
    }

    fn enter(&mut self, parent: DirId, name: NameBuf) -> Result<(), IngestError> {
        // each batch holds its directory open
        self.submit_batch()?;
        let trail = self.here().1.join(name.as_bytes());
        let dir = at::open_dir_at(self.dirs.top(), name.as_bytes()).map_err(failed("open", &trail))?;
        let mut listing = list(&dir, &trail)?;
        self.refuse_store(&listing.stat, &trail)?;
        if self.options.one_file_system && listing.stat.dev != self.device {
            listing.names.clear();
        }
        self.dirs.push(dir).map_err(failed("open", &trail))?;
        self.begin(Some((parent, name)), listing, trail);
        self.progress.add_entry();
        Ok(())
    }

    fn refuse_store(&self, stat: &Stat, trail: &Trail) -> Result<(), IngestError> {
        if self.store == Some((stat.dev, stat.ino)) {
            return Err(IngestError::ContainsStore { path: trail.shown() });
        }
        Ok(())
    }

    /// A name of an inode that has others, here or elsewhere.
    fn linked(&mut self, dir: DirId, name: NameBuf, stat: &Stat) -> Result<(), IngestError> {
        let (link, first) = match self.links.entry((stat.dev, stat.ino)) {
            MapEntry::Occupied(known) => (*known.get(), false),
            MapEntry::Vacant(new) => (*new.insert(self.builder.new_link()?), true),
        };
        self.builder.add_link(dir, name.clone(), link);
        if !first {
            self.progress.add_entry();
            return Ok(());
        }
        if stat.file_type == FileType::Regular {
            return self.submit(name, *stat, Place::Link(link));
        }
        let (meta, content) = self.inode(&name, stat)?;
        self.progress.add_entry();
        self.builder.fill(Place::Link(link), meta, content)
    }

    fn submit(&mut self, name: NameBuf, seen: Stat, place: Place) -> Result<(), IngestError> {
        let parent = self.here().1.clone();
        let dir = self.dirs.top().clone();
        let file = FileJob { dir, parent, name: name.as_bytes().into(), seen, place };
        let Some((digest, xattrs)) = self.known.find(&seen) else { return self.pool.submit(Job::Read(file)) };
        self.batch.push(KnownFile { file, digest, xattrs });
        if self.batch.len() < BATCH { Ok(()) } else { self.submit_batch() }
    }

    fn submit_batch(&mut self) -> Result<(), IngestError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.pool.submit(Job::Known(std::mem::take(&mut self.batch)))
    }

    /// Metadata and content of what is neither a directory nor a regular file.
    fn inode(&self, name: &NameBuf, stat: &Stat) -> Result<(Meta, Content), IngestError> {
        let (dir, bytes) = (self.dirs.top(), name.as_bytes());
        let trail = || self.here().1.join(bytes);
        let attributes = xattrs::read_all(Of::At(dir.as_fd(), bytes));
        let attributes = attributes.map_err(|source| failed("read the attributes of", &trail())(source))?;
        let content = match stat::special(stat) {
            Some(content) => content,
            None => {
                let target = at::read_link_at(dir, bytes);
                Content::Symlink(target.map_err(|source| failed("read the link", &trail())(source))?.into())
            }
        };
        let meta = stat::meta(stat, attributes).map_err(|source| unstorable(&trail(), source))?;
        Ok((meta, content))
    }
}

/// Reads a directory's names and metadata, so that they belong to one moment.
fn list(dir: &OwnedFd, trail: &Trail) -> Result<Listing, IngestError> {
    for _ in 0..ATTEMPTS {
        let before = at::stat_fd(dir).map_err(failed("stat", trail))?;
        let raw = at::list_dir(dir.as_fd()).map_err(failed("list", trail))?;
        let attributes = xattrs::read_all(Of::Fd(dir.as_fd())).map_err(failed("read the attributes of", trail))?;
        let stat = at::stat_fd(dir).map_err(failed("stat", trail))?;
        if stat::unchanged(&before, &stat) {
            let mut names = raw.into_iter().map(|name| valid(name, trail)).collect::<Result<Vec<_>, _>>()?;
            names.sort_unstable();
            let meta = stat::meta(&stat, attributes).map_err(|source| unstorable(trail, source))?;
            return Ok(Listing { stat, meta, names });
        }
    }
    Err(IngestError::Changed { path: trail.shown(), what: "entries came or went while it was listed" })
}

fn valid(name: Box<[u8]>, trail: &Trail) -> Result<NameBuf, IngestError> {
    // the kernel gives valid names; a filesystem with longer ones is what this refuses
    NameBuf::new(name).map_err(|source| IngestError::Name { path: trail.shown(), source })
}

fn failed(action: &'static str, trail: &Trail) -> impl FnOnce(io::Error) -> IngestError {
    let trail = trail.clone();
    move |source| IngestError::Source { action, path: trail.shown(), source }
}

fn unstorable(trail: &Trail, source: FormatError) -> IngestError {
    IngestError::Format { path: trail.shown(), source }
}
