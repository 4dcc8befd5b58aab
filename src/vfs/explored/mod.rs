//! The protocols of the filesystem's locks, explored on a real filesystem over a real store and layer. See `locks::explored`.

mod copies;
mod names;
mod ranges;
mod snapshots;

use super::{Attr, Caller, Fs, HandleId, Ino, OpenMode, Opened, VfsError};
use crate::format::{Mode, Name};
use crate::ingest::{ImportOptions, Progress, import_dir};
use crate::layer::{DataId, FileContent, Layer};
use crate::locks::explored::{explore, orders, together};
use crate::store::{Store, Writer};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const CLEAN: &[u8] = b"what the base has";
pub(crate) const CALLER: Caller = Caller { uid: 0, gid: 0, pid: 0 };
pub(crate) const READ: OpenMode = OpenMode { write: false, truncate: false };
pub(crate) const WRITE: OpenMode = OpenMode { write: true, truncate: false };

/// A filesystem whose base has clean files enough for every order to have one of its own. All of them have the same blob.
pub(crate) struct Setting {
    pub(crate) fs: Arc<Fs>,
    /// Takes in what a snapshot would.
    writer: Writer,
    dir: Ino,
    next: AtomicUsize,
    _folder: tempfile::TempDir,
}

/// One order's file.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) fs: Arc<Fs>,
    dir: Ino,
    pub(crate) ino: Ino,
    name: String,
}

impl Setting {
    pub(crate) fn new() -> Self {
        // In memory where that is to be had: what is explored is the order, and a disk only makes it slow.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir_all(source.join("d")).unwrap();
        for number in 0..4 * orders() + 4 {
            std::fs::write(source.join(format!("d/{number}")), CLEAN).unwrap();
        }
        let store = Store::init(&folder.path().join("store")).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        let fs = Fs::with_layer(&store, base, Layer::open(&folder.path().join("layer")).unwrap()).unwrap();
        let dir = fs.lookup(Ino::ROOT, Name::new(b"d").unwrap()).unwrap().unwrap().ino;
        let writer = store.writer("test").unwrap();
        Self { fs: Arc::new(fs), writer, dir, next: AtomicUsize::new(0), _folder: folder }
    }

    /// A clean file.
    pub(crate) fn clean(&self) -> Case {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let mut case = Case { fs: self.fs.clone(), dir: self.dir, ino: Ino::ROOT, name };
        case.ino = case.lookup().unwrap().ino;
        case
    }

    /// A file of the layer with this content.
    pub(crate) fn dirty(&self, content: &[u8]) -> Case {
        let case = self.clean();
        case.overwrite(content).unwrap();
        case
    }
}

impl Case {
    fn name(&self) -> Name<'_> {
        Name::new(self.name.as_bytes()).unwrap()
    }

    fn lookup(&self) -> Option<Attr> {
        self.fs.lookup(self.dir, self.name()).unwrap()
    }

    pub(crate) fn unlink(&self) {
        self.fs.unlink(self.dir, self.name()).unwrap();
    }

    /// Opens for writing, writes all of `content`, closes.
    pub(crate) fn overwrite(&self, content: &[u8]) -> Result<(), VfsError> {
        let opened = self.fs.open(self.ino, OpenMode { write: true, truncate: true })?;
        self.fs.write(opened.handle, 0, content)?;
        self.fs.release(opened.handle);
        Ok(())
    }

    pub(crate) fn read(&self, handle: HandleId) -> Vec<u8> {
        let mut buffer = [0; 64];
        let length = self.fs.read(handle, 0, &mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    /// The bytes that the inode has for one who opens it now.
    pub(crate) fn content(&self) -> Vec<u8> {
        let opened = self.fs.open(self.ino, READ).unwrap();
        let content = self.read(opened.handle);
        self.fs.release(opened.handle);
        content
    }

    /// The bytes of the host file that the kernel would be given.
    pub(crate) fn host_content(&self, opened: &Opened) -> Option<Vec<u8>> {
        let file = opened.file(&self.fs).unwrap()?;
        let mut buffer = [0; 64];
        let length = file.read_at(&mut buffer, 0).unwrap();
        Some(buffer[..length].to_vec())
    }

    /// Generations of the inode that have a data file.
    fn generations(&self) -> Vec<u32> {
        let path = self.fs.upper().unwrap().layer.data().file_path(DataId { ino: self.ino, generation: 0 });
        let (shard, prefix) = (path.parent().unwrap(), format!("{:x}.", self.ino.0));
        let Ok(files) = shard.read_dir() else { return Vec::new() };
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| u32::from_str_radix(name.strip_prefix(&prefix)?, 16).ok()).collect()
    }

    /// The invariant of data files: there is the one that the record names, and no other. Nothing is open or noted as forgotten.
    pub(crate) fn assert_whole(&self) {
        // A data file that no record names goes when the disk knows that.
        self.fs.upper().unwrap().settle().unwrap();
        let record = self.fs.upper().unwrap().layer.db().inode(self.ino).unwrap();
        let named: Vec<u32> = record.and_then(|record| record.data_generation()).into_iter().collect();
        assert_eq!(self.generations(), named, "data files, and what the record names");
        assert!(!self.fs.open.is_open(self.ino), "a handle leaked");
        assert!(!self.fs.upper().unwrap().forgotten.lock().contains(&self.ino), "noted as forgotten for ever");
    }

    /// Nothing is left of an inode that has no name.
    pub(crate) fn assert_gone(&self) {
        assert_eq!(self.fs.upper().unwrap().layer.db().inode(self.ino).unwrap(), None, "the record stays behind");
        self.assert_whole();
    }

    fn task(&self, work: impl FnOnce(Case) + Send + 'static) -> Box<dyn FnOnce() + Send> {
        let case = self.clone();
        Box::new(move || work(case))
    }
}

/// What the record says of the content.
fn recorded(case: &Case) -> Option<FileContent> {
    match case.fs.record(case.ino).unwrap().body {
        crate::layer::Body::File { content, .. } => Some(content),
        _ => None,
    }
}
