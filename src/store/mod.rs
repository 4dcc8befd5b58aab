//! The content-addressed store: objects, refs with history, leases, trash, layers' folders, control sockets.
//!
//! ```text
//! STORE/format            JSON: {"format":1,"id":"..."}; an unknown version is refused, nothing is ever deleted for it
//!      /lock              flock: shared by writers while they publish or rely on an object, exclusive by a sweep's batch
//!      /objects/ab/cd..   blobs, trees, manifests, link tables; mode 0444
//!      /refs/NAME         digest of a manifest, one line
//!      /history/NAME      JSON lines: each move or removal of the ref, oldest first
//!      /layers/NAME/      layer.json, lock, index/ (fjall), data/
//!      /leases/           one file per live writer or mount, held under flock by its owner
//!      /trash/MILLIS/ab/cd..  objects that a collection took out, by when
//!      /run/              control sockets and logs of mounts
//!      /tmp/              files being written
//! ```
//! Locking: `lock` is taken before a lease file is created and never while one waits for another lock.
//! Dependency: `format`, `sys`. Nothing else joins store paths: see `layout`.

// Signatures that the other modules build on.

use crate::format::*;
use std::fs::File;
use std::path::{Path, PathBuf};

/// An open store. Cheap to clone; all operations are safe from several threads and processes.
#[derive(Clone, Debug)]
pub struct Store {}

/// What a store operation can fail with. Each error names the path or digest, and says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    // owner adds: NoStore, UnknownVersion{found,known,path}, MissingObject{digest}, CorruptObject{digest,path,why}, NoRef{name,near}, RefConflict, LayerBusy..., ReadOnly, ...
}

/// What `put` did.
#[derive(Debug, Clone, Copy)]
pub struct Put {
    /// Name of the object.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Whether the store had it already.
    pub existed: bool,
}

impl Store {
    /// `--store`, else `CAIRNFS_STORE`, else `/var/lib/cairnfs` for root and `$XDG_DATA_HOME/cairnfs` (or `~/.local/share/cairnfs`) for others.
    pub fn default_path() -> PathBuf {
        todo!()
    }
    /// Creates a store, or opens the one that is there: idempotent.
    pub fn init(_path: &Path) -> Result<Self, StoreError> {
        todo!()
    }
    /// Opens a store.
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        todo!()
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        todo!()
    }

    // ---- objects (reading) ----
    /// Opens an object for reading; one that a collection put into the trash is restored first.
    pub fn open_object(&self, _digest: Digest) -> Result<File, StoreError> {
        todo!()
    }
    /// Reads an object whole and checks its bytes against `digest`.
    pub fn read_object(&self, _digest: Digest) -> Result<Vec<u8>, StoreError> {
        todo!()
    }
    /// Whether the object is in `objects/`.
    pub fn contains(&self, _digest: Digest) -> bool {
        todo!()
    }
    /// Path of an object in `objects/`, whether or not it is there.
    pub fn object_path(&self, _digest: Digest) -> PathBuf {
        todo!()
    }
    /// Reads and decodes a tree, checking digest and form.
    pub fn read_tree(&self, _digest: Digest) -> Result<Tree, StoreError> {
        todo!()
    }
    /// Reads and decodes a manifest.
    pub fn read_manifest(&self, _digest: Digest) -> Result<Manifest, StoreError> {
        todo!()
    }
    /// Reads and decodes the manifest's table of linked inodes (empty when it has none).
    pub fn read_links(&self, _manifest: &Manifest) -> Result<LinkTable, StoreError> {
        todo!()
    }

    // ---- objects (writing) ----
    /// Takes a writing lease: from now until the writer is dropped, a collection keeps every object newer than this moment.
    pub fn writer(&self, _purpose: &str) -> Result<Writer, StoreError> {
        todo!()
    }

    // ---- refs ----
    /// The manifest that `name` names.
    pub fn resolve_ref(&self, _name: &RefName) -> Result<Digest, StoreError> {
        todo!()
    }
    /// A manifest by ref name, by full digest, or by a unique prefix of at least 8 digits.
    pub fn resolve(&self, _text: &str) -> Result<Digest, StoreError> {
        todo!()
    }
    /// All refs, sorted by name. A ref that can't be read is an error, never left out.
    pub fn refs(&self) -> Result<Vec<(RefName, Digest)>, StoreError> {
        todo!()
    }
    /// Removes a ref; its history remembers it. Returns what it named.
    pub fn remove_ref(&self, _name: &RefName) -> Result<Digest, StoreError> {
        todo!()
    }
    // set_ref is on Writer; ref_history / undo_ref are the owner's to shape

    // ---- leases of mounts ----
    /// A lease that keeps `keep` and all that they reach, while the value lives.
    pub fn lease(&self, _purpose: &str, _keep: &[Digest]) -> Result<Lease, StoreError> {
        todo!()
    }

    // ---- paths for other modules (only `store` joins store paths) ----
    /// Folder of a layer.
    pub fn layer_dir(&self, _name: &LayerName) -> PathBuf {
        todo!()
    }
    /// `layers/`.
    pub fn layers_dir(&self) -> PathBuf {
        todo!()
    }
    /// `run/`.
    pub fn run_dir(&self) -> PathBuf {
        todo!()
    }
}

/// A live mount's or writer's hold on objects; dropped, the hold ends. The kernel drops it when the process dies.
#[derive(Debug)]
pub struct Lease {}

impl Lease {
    /// Also keeps `digest`, from before this returns.
    pub fn keep(&self, _digest: Digest) -> Result<(), StoreError> {
        todo!()
    }
}

/// Puts objects into the store under a writing lease. Shared by threads (`&self` everywhere).
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// Stores bytes.
    pub fn put_bytes(&self, _bytes: &[u8]) -> Result<Put, StoreError> {
        todo!()
    }
    /// Stores a stream, hashing while it is written.
    pub fn put_reader(&self, _from: &mut dyn std::io::Read) -> Result<Put, StoreError> {
        todo!()
    }
    /// Stores a regular file's content from its current start, reflinked where the filesystem can; `path` names it in errors.
    pub fn put_file(&self, _from: &File, _path: &Path) -> Result<Put, StoreError> {
        todo!()
    }
    /// Stores a file that is already on the store's filesystem by hard link, so that its inode stays: the file becomes mode 0444 and immutable
    /// content. If the object exists, nothing is linked. The file at `path` stays for the caller to remove.
    pub fn adopt(&self, _path: &Path, _digest: Digest) -> Result<Put, StoreError> {
        todo!()
    }
    /// Encodes, stores and returns a manifest.
    pub fn put_manifest(&self, _manifest: &Manifest) -> Result<Digest, StoreError> {
        todo!()
    }
    /// Makes all that was put durable: one `syncfs` of the store's filesystem.
    pub fn barrier(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Points `name` at a manifest, atomically and durably, after the barrier; remembers what it named before.
    pub fn set_ref(&self, _name: &RefName, _manifest: Digest) -> Result<Option<Digest>, StoreError> {
        todo!()
    }
}
