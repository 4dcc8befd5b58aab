//! Making and opening stores.
//!
//! `format` is written last and atomically, so a folder has it only when it is a whole store. Two `init`s at once end with one store id.
//! Opening writes nothing: a store on a read-only filesystem can be read.

use super::error::{Context, Result, StoreError, found};
use super::layout::{FILES, FOLDERS, Layout};
use super::publish::{self, sync_folder};
use super::{Inner, Store};
use crate::sys::tmpfile;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format version that this program reads and writes.
const VERSION: u64 = 1;
/// The kernel's source of random identifiers.
const RANDOM: &str = "/proc/sys/kernel/random/uuid";

#[derive(Serialize, Deserialize)]
struct Format {
    format: u64,
    id: String,
}

/// Only the field that every version has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

impl Store {
    /// `--store`, else `CAIRNFS_STORE`, else `/var/lib/cairnfs` for root and `$XDG_DATA_HOME/cairnfs` (or `~/.local/share/cairnfs`) for others.
    pub fn default_path() -> PathBuf {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = set("CAIRNFS_STORE") {
            return path;
        }
        if nix::unistd::geteuid().is_root() {
            return PathBuf::from("/var/lib/cairnfs");
        }
        let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
        data.unwrap_or_else(|| PathBuf::from("/var/lib")).join("cairnfs")
    }

    /// Creates a store, or opens the one that is there: idempotent, also when raced. A new store's folder is open to its owner
    /// alone, for content keeps no owner of its own in it.
    pub fn init(path: &Path) -> Result<Self> {
        let parents = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parents {
            fs::create_dir_all(parent).context("create", parent)?;
        }
        make_folder(path, 0o700)?;
        let path = &fs::canonicalize(path).context("open", path)?;
        let layout = Layout::new(path);
        if found(fs::metadata(layout.top("format"))).context("open", path)?.is_some() {
            return Self::open(path);
        }
        refuse_foreign(path)?;
        build(&layout)?;
        Self::open(path)
    }

    /// Opens a store.
    pub fn open(path: &Path) -> Result<Self> {
        let no_store = || StoreError::NoStore { path: path.to_owned() };
        let path = &found(fs::canonicalize(path)).context("open", path)?.ok_or_else(no_store)?;
        let layout = Layout::new(path);
        let file = layout.top("format");
        let text = found(fs::read(&file)).context("read", &file)?.ok_or_else(no_store)?;
        let bad = |why: serde_json::Error| StoreError::BadFormatFile { path: file.clone(), why: why.to_string() };
        let found = serde_json::from_slice::<AnyFormat>(&text).map_err(bad)?.format;
        if found != VERSION {
            return Err(StoreError::UnknownVersion { path: path.clone(), found, known: VERSION });
        }
        let id = serde_json::from_slice::<Format>(&text).map_err(bad)?.id;
        Ok(Self(Arc::new(Inner { layout, id, lock: Default::default() })))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.layout().root()
    }

    /// Writes all of the store's filesystem to its disk.
    pub fn sync(&self) -> Result<()> {
        let disk = File::open(self.path()).context("open", self.path())?;
        crate::sys::syncfs::syncfs(&disk).context("sync", self.path())
    }

    /// The random name that it got when it was made.
    pub fn id(&self) -> &str {
        &self.0.id
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done.context("create", path),
    }
}

/// What a crashed `init` left may be there, and nothing else.
fn refuse_foreign(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path).context("list", path)? {
        let name = entry.context("list", path)?.file_name();
        let ours = |name: &str| FOLDERS.contains(&name) || FILES.contains(&name) || name == "objects";
        if !name.to_str().is_some_and(|name| ours(name) || name == "lost+found") {
            let found = name.to_string_lossy().into_owned();
            return Err(StoreError::NotEmpty { path: path.to_owned(), found });
        }
    }
    Ok(())
}

fn build(layout: &Layout) -> Result<()> {
    make_folder(&layout.objects(), 0o755)?;
    for first in 0..=255 {
        make_folder(&layout.object_folder(first), 0o755)?;
    }
    for name in FOLDERS {
        make_folder(&layout.top(name), 0o755)?;
    }
    for name in ["lock", "gate"] {
        let path = layout.top(name);
        OpenOptions::new().append(true).create(true).open(&path).context("create", &path)?;
    }
    sync_folder(&layout.objects())?;
    sync_folder(layout.root())?;
    write_format(layout)?;
    sync_folder(layout.root())
}

fn write_format(layout: &Layout) -> Result<()> {
    let path = layout.top("format");
    let id = fs::read_to_string(RANDOM).context("read", Path::new(RANDOM))?.trim().replace('-', "");
    let mut text = serde_json::json!({ "format": VERSION, "id": id }).to_string();
    text.push('\n');
    let write = |file: &mut File| {
        file.write_all(text.as_bytes())?;
        publish::set_mode(file, 0o644)?;
        file.sync_all()
    };
    let linked = match tmpfile::unnamed(layout.root()).context("create a file in", layout.root())? {
        Some(mut file) => write(&mut file).and_then(|()| tmpfile::link(&file, &path)),
        None => {
            let tmp = layout.tmp_file(&publish::unique());
            let mut file = File::create_new(&tmp).context("create", &tmp)?;
            let linked = write(&mut file).and_then(|()| fs::hard_link(&tmp, &path));
            fs::remove_file(&tmp).context("remove", &tmp)?;
            linked
        }
    };
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done.context("create", &path),
    }
}
