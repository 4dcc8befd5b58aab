//! Reading objects.
//!
//! An object is in `objects/`, or in the trash for a while after a collection took it out by mistake of timing. A reader that misses looks
//! into the trash and puts the object back (`trash`).

use super::course::Course;
use super::error::{Context, Result, StoreError, found};
use super::layout::digest_of;
use super::reading::hash;
use super::{Store, trash};
use crate::format::{Digest, LinkTable, Manifest, Tree};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file in `objects/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// An object, by its name; its bytes are not looked at.
    Object(Digest),
    /// Something that isn't named as an object is.
    Foreign(PathBuf),
}

/// What the filesystem tells of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectStat {
    /// Length in bytes.
    pub size: u64,
    /// Modification time, whole seconds since the epoch: when a writer last put the object or relied on it.
    pub mtime: i64,
    /// Nanoseconds within that second.
    pub mtime_nanos: i64,
}

impl From<fs::Metadata> for ObjectStat {
    fn from(stat: fs::Metadata) -> Self {
        Self { size: stat.len(), mtime: stat.mtime(), mtime_nanos: stat.mtime_nsec() }
    }
}

impl Store {
    /// Opens an object for reading; one that a collection put into the trash is restored first.
    pub fn open_object(&self, digest: Digest) -> Result<File> {
        match self.open_in_place(digest)? {
            Some(file) => Ok(file),
            None => trash::open_restored(self, digest),
        }
    }

    /// Opens a blob for reading. One that isn't `size` bytes long is damaged: [`StoreError::CorruptObject`]. Its bytes aren't hashed.
    pub fn open_blob(&self, digest: Digest, size: u64) -> Result<File> {
        let file = self.open_object(digest)?;
        let path = self.object_path(digest);
        let found = file.metadata().context("stat", &path)?.len();
        if found == size {
            return Ok(file);
        }
        Err(StoreError::CorruptObject { digest, path, why: format!("it has {found} bytes and should have {size}") })
    }

    /// Reads an object whole and checks its bytes against `digest`.
    pub fn read_object(&self, digest: Digest) -> Result<Vec<u8>> {
        let file = self.open_object(digest)?;
        self.read_checked(digest, file)
    }

    /// Reads an object wherever it is, changing nothing: what a dry run and a mark use.
    pub fn peek_object(&self, digest: Digest) -> Result<Vec<u8>> {
        let file = trash::peek(self, digest)?;
        self.read_checked(digest, file)
    }

    /// Whether the object is in `objects/`.
    pub fn contains(&self, digest: Digest) -> bool {
        fs::symlink_metadata(self.object_path(digest)).is_ok_and(|stat| stat.is_file())
    }

    /// Size and age of an object in `objects/`; `None` when it isn't there.
    pub fn object_stat(&self, digest: Digest) -> Result<Option<ObjectStat>> {
        let path = self.object_path(digest);
        let stat = found(fs::symlink_metadata(&path)).context("stat", &path)?;
        Ok(stat.filter(fs::Metadata::is_file).map(ObjectStat::from))
    }

    /// Path of an object in `objects/`, whether or not it is there.
    pub fn object_path(&self, digest: Digest) -> PathBuf {
        self.layout().object(digest)
    }

    /// Reads and decodes a tree, checking digest and form.
    pub fn read_tree(&self, digest: Digest) -> Result<Tree> {
        self.decode_tree(digest, self.read_object(digest)?)
    }

    /// Reads and decodes a manifest.
    pub fn read_manifest(&self, digest: Digest) -> Result<Manifest> {
        self.decode_manifest(digest, &self.read_object(digest)?)
    }

    /// Reads and decodes the manifest's table of linked inodes (empty when it has none).
    pub fn read_links(&self, manifest: &Manifest) -> Result<LinkTable> {
        match manifest.links {
            None => Ok(LinkTable::empty()),
            Some(digest) => self.decode_links(digest, self.read_object(digest)?),
        }
    }

    pub(super) fn decode_tree(&self, digest: Digest, bytes: Vec<u8>) -> Result<Tree> {
        Tree::decode(bytes).map_err(|why| self.corrupt(digest, why.to_string()))
    }

    pub(super) fn decode_manifest(&self, digest: Digest, bytes: &[u8]) -> Result<Manifest> {
        Manifest::decode(bytes).map_err(|why| self.corrupt(digest, why.to_string()))
    }

    pub(super) fn decode_links(&self, digest: Digest, bytes: Vec<u8>) -> Result<LinkTable> {
        LinkTable::decode(bytes).map_err(|why| self.corrupt(digest, why.to_string()))
    }

    /// Checks an object's bytes against its name.
    pub fn verify_object(&self, digest: Digest) -> Result<()> {
        let file = self.open_object(digest)?;
        let have = hash(&file, &self.object_path(digest), &Course::default())?;
        if have == digest { Ok(()) } else { Err(self.corrupt(digest, format!("its content is {have}"))) }
    }

    /// Whether an object is a manifest. Changes nothing; `false` for one that isn't there.
    pub fn is_manifest(&self, digest: Digest) -> Result<bool> {
        match trash::peek(self, digest) {
            Ok(mut file) => trash::is_manifest(&mut file, &self.object_path(digest)),
            Err(StoreError::MissingObject { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists `objects/`, in no order. Files that come and go meanwhile may be listed or not.
    pub fn list_objects(&self, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let objects = self.layout().objects();
        for folder in fs::read_dir(&objects).context("list", &objects)? {
            let folder = folder.context("list", &objects)?;
            let path = folder.path();
            let name = folder.file_name();
            let named = name.to_str().filter(|name| is_object_folder(name));
            match named.filter(|_| folder.file_type().is_ok_and(|kind| kind.is_dir())) {
                None => each(Listed::Foreign(path)),
                Some(name) => list_folder(&path, name, each)?,
            }
        }
        Ok(())
    }

    pub(super) fn open_in_place(&self, digest: Digest) -> Result<Option<File>> {
        let path = self.object_path(digest);
        found(File::open(&path)).context("open", &path)
    }

    fn read_checked(&self, digest: Digest, mut file: File) -> Result<Vec<u8>> {
        let path = self.object_path(digest);
        let length = file.metadata().context("stat", &path)?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.read_to_end(&mut bytes).context("read", &path)?;
        let have = Digest::of(&bytes);
        if have == digest { Ok(bytes) } else { Err(self.corrupt(digest, format!("its content is {have}"))) }
    }

    pub(super) fn corrupt(&self, digest: Digest, why: String) -> StoreError {
        StoreError::CorruptObject { digest, path: self.object_path(digest), why }
    }

    pub(super) fn missing(&self, digest: Digest) -> StoreError {
        StoreError::MissingObject { digest, path: self.path().to_owned() }
    }
}

fn is_object_folder(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
}

fn list_folder(path: &Path, name: &str, each: &mut dyn FnMut(Listed)) -> Result<()> {
    for file in fs::read_dir(path).context("list", path)? {
        let file = file.context("list", path)?;
        let digest = file.file_name().to_str().and_then(|rest| digest_of(name, rest));
        match digest.filter(|_| file.file_type().is_ok_and(|kind| kind.is_file())) {
            Some(digest) => each(Listed::Object(digest)),
            None => each(Listed::Foreign(file.path())),
        }
    }
    Ok(())
}
