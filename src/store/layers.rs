//! Folders of writable layers: what the store itself knows of a layer.
//!
//! ```text
//! layers/NAME/layer.json   LayerConfig: what the layer stands on; a root for the collector
//!            /lock         who uses the layer, in words
//!            /index/       metadata (fjall)
//!            /new          while the layer was never used: it may be given its database
//!            /data/        content of dirty files
//! ```
//! A layer appears whole, `layer.json` included, and goes whole: it is renamed into the trash and removed there. A folder without a
//! readable `layer.json` stops a collection, for nobody can tell what it stands on.
//!
//! Who uses a layer has its folder flocked: that can't be removed and made again while it is in use, as a file in it can.
//!
//! A folder that was copied or renamed by hand has a `layer.json` with another name. It keeps what it stands on, but isn't used: nobody can tell
//! whether it was copied while something wrote to it. Who knows gives it its name in `layer.json`.

use super::error::{Context, Result, StoreError, found};
use super::layout::layer;
use super::publish::{now_ms, replace_durably, sync_folder, sync_parent, unique};
use super::resolve::near;
use super::{Lease, LeaseKind, Store};
use crate::format::{Digest, LayerName};
use crate::sys::{failure, flock, plain, rename};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Version of `layer.json`.
const VERSION: u32 = 1;

/// How a layer is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerMode {
    /// In the store, until it is removed.
    Overlay,
    /// In memory, until it is unmounted.
    Tmpfs,
}

/// Limits of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of content.
    pub bytes: Option<u64>,
    /// Entries.
    pub entries: Option<u64>,
}

/// What a layer stands on: `layer.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Version of this file.
    pub format: u32,
    /// The layer's name.
    pub name: LayerName,
    /// The manifest that its clean nodes are of.
    pub base: Digest,
    /// Its last snapshot.
    pub parent: Option<Digest>,
    /// Other manifests that it needs.
    pub pins: Vec<Digest>,
    /// How it is kept.
    pub mode: LayerMode,
    /// The project that its size counts for.
    pub project: Option<String>,
    /// Its limits.
    pub quota: Option<Quota>,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
}

impl LayerConfig {
    /// A layer that is kept, on `base`, without limits.
    pub fn new(name: LayerName, base: Digest, created_at: String) -> Self {
        Self {
            format: VERSION,
            name,
            base,
            parent: None,
            pins: Vec::new(),
            mode: LayerMode::Overlay,
            project: None,
            quota: None,
            created_at,
        }
    }

    /// The manifests that it needs: the roots that a collection starts from.
    pub fn roots(&self) -> impl Iterator<Item = Digest> + '_ {
        [self.base].into_iter().chain(self.parent).chain(self.pins.iter().copied())
    }
}

impl Store {
    /// `layers/`.
    pub fn layers_dir(&self) -> PathBuf {
        self.layout().layers()
    }

    /// Folder of a layer, whether or not it is there.
    pub fn layer_dir(&self, name: &LayerName) -> PathBuf {
        self.layout().layer(name)
    }

    /// Folder of a layer's metadata.
    pub fn layer_index_dir(&self, name: &LayerName) -> PathBuf {
        layer::index(&self.layer_dir(name))
    }

    /// Folder of a layer's content.
    pub fn layer_data_dir(&self, name: &LayerName) -> PathBuf {
        layer::data(&self.layer_dir(name))
    }

    /// Makes a layer's folder with `layer.json`, an empty `index/` and an empty `data/`: whole and durable, or not at all. Returns the folder.
    pub fn create_layer(&self, config: &LayerConfig) -> Result<PathBuf> {
        let needed: Vec<Digest> = config.roots().collect();
        let lease = Lease::take(self, LeaseKind::Mount, &format!("create layer {}", config.name), &needed)?;
        let folder = self.layout().tmp_file(&unique());
        let made = self.fill_layer(&folder, config).and_then(|_lock| self.name_layer(&folder, config));
        if made.is_err() {
            // What can't be removed now is removed by a collection.
            let _ = fs::remove_dir_all(&folder);
        }
        drop(lease);
        made
    }

    /// Returns the lock that tells a collection that the folder is in use while it is in `tmp/`.
    fn fill_layer(&self, folder: &Path, config: &LayerConfig) -> Result<File> {
        let lock = {
            let _shared = self.shared()?;
            fs::create_dir(folder).context("create", folder)?;
            let lock = File::open(folder).context("open", folder)?;
            flock::exclusive(&lock).context("lock", folder)?;
            lock
        };
        for path in [layer::index(folder), layer::data(folder)] {
            fs::create_dir(&path).context("create", &path)?;
        }
        for path in [layer::lock(folder), layer::new(folder)] {
            File::create_new(&path).and_then(|file| file.sync_all()).context("create", &path)?;
        }
        let path = layer::config(folder);
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(&encode(config))?;
            file.sync_all()
        };
        write().context("write", &path)?;
        sync_folder(folder)?;
        Ok(lock)
    }

    fn name_layer(&self, folder: &Path, config: &LayerConfig) -> Result<PathBuf> {
        let path = self.layer_dir(&config.name);
        match rename::no_replace(folder, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StoreError::LayerExists { name: config.name.to_string() });
            }
            done => done.context("create", &path)?,
        }
        sync_parent(&path)?;
        Ok(path)
    }

    /// Names of all layers, also of those that can't be read, and beside them what is there that can't be one; both sorted.
    pub fn layer_names(&self) -> Result<(Vec<LayerName>, Vec<PathBuf>)> {
        let folder = self.layers_dir();
        let (mut names, mut odd) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&folder).context("list", &folder)? {
            let path = entry.context("list", &folder)?.path();
            match path.file_name().and_then(|name| name.to_str()?.parse::<LayerName>().ok()) {
                Some(name) => names.push(name),
                None => odd.push(path),
            }
        }
        names.sort();
        odd.sort();
        Ok((names, odd))
    }

    /// All layers, sorted by folder, copied ones among them. One that can't be read is an error, never left out.
    pub fn layers(&self) -> Result<Vec<LayerConfig>> {
        let (names, odd) = self.layer_names()?;
        if let Some(path) = odd.into_iter().next() {
            return Err(StoreError::NotLayer { path });
        }
        let mut layers = Vec::new();
        for name in names {
            match self.described_layer(&name) {
                // It was removed meanwhile.
                Err(StoreError::NoLayer { .. }) => {}
                config => layers.push(config?),
            }
        }
        Ok(layers)
    }

    /// What a layer stands on. One whose folder was copied or renamed by hand is an error.
    pub fn layer(&self, name: &LayerName) -> Result<LayerConfig> {
        let config = self.described_layer(name)?;
        if config.name == *name {
            return Ok(config);
        }
        let path = layer::config(&self.layer_dir(name));
        Err(StoreError::CopiedLayer { name: name.to_string(), of: config.name.to_string(), path })
    }

    /// What the folder of a layer says that it stands on, whichever layer it says to be.
    pub fn described_layer(&self, name: &LayerName) -> Result<LayerConfig> {
        let folder = self.layer_dir(name);
        let path = layer::config(&folder);
        let bad = |why: String| StoreError::BadLayer { name: name.to_string(), path: path.clone(), why };
        let Some(text) = found(fs::read(&path)).context("read", &path)? else {
            let there = found(fs::symlink_metadata(&folder)).context("stat", &folder)?;
            return Err(there.map_or_else(|| self.no_layer(name), |_| bad("it is missing".to_owned())));
        };
        let config: LayerConfig = serde_json::from_slice(&text).map_err(|why| bad(why.to_string()))?;
        if config.format != VERSION {
            return Err(bad(format!("it has version {}; this program knows version {VERSION}", config.format)));
        }
        Ok(config)
    }

    /// Replaces a layer's `layer.json`, atomically and durably. The caller holds the layer's lock, and a lease on manifests that are new
    /// in it.
    pub fn write_layer(&self, lock: &LayerLock, config: &LayerConfig) -> Result<()> {
        replace_durably(self, &layer::config(&self.layer_dir(&lock.name)), &encode(config))
    }

    /// Takes a layer for this process alone. `use_` tells others who has it, such as `mounted on /mnt`.
    pub fn lock_layer(&self, name: &LayerName, use_: &str) -> Result<LayerLock> {
        let path = self.layer_dir(name);
        loop {
            let opened = found(plain::open_folder(&path)).context("open", &path)?;
            let folder = opened.ok_or_else(|| self.no_layer(name))?;
            if !flock::try_exclusive(&folder).context("lock", &path)? {
                return Err(StoreError::LayerBusy { name: name.to_string(), holder: holder(&layer::lock(&path)) });
            }
            // A layer that was removed, and perhaps made anew, between opening and locking has another folder.
            let have = folder.metadata().context("stat", &path)?;
            let there = found(fs::metadata(&path)).context("stat", &path)?;
            if there.is_some_and(|there| (there.dev(), there.ino()) == (have.dev(), have.ino())) {
                let lock = LayerLock { name: name.clone(), path: layer::lock(&path), _folder: folder };
                lock.describe(use_)?;
                return Ok(lock);
            }
        }
    }

    /// Whether the process `pid` has a layer, by what it said when it took the lock.
    pub fn layer_is_held_by(&self, name: &LayerName, pid: u32) -> Result<bool> {
        let path = self.layer_dir(name);
        let Some(folder) = found(plain::open_folder(&path)).context("open", &path)? else { return Ok(false) };
        if flock::try_shared(&folder).context("lock", &path)? {
            return Ok(false);
        }
        // Somebody has it; where the file that tells who isn't there, it may be this process.
        let path = layer::lock(&path);
        let holder = found(plain::read_to_string(&path)).context("read", &path)?.unwrap_or_default();
        Ok(holder.is_empty() || holder.starts_with(&holder_of(pid)))
    }

    /// Removes a layer with all that was written to it, also one whose description can't be read. Refused while somebody uses it.
    pub fn remove_layer(&self, name: &LayerName) -> Result<()> {
        let lock = self.lock_layer(name, "being removed")?;
        let trashed = self.layout().trashed_layer(name, now_ms());
        let folder = self.layer_dir(name);
        fs::rename(&folder, &trashed).context("remove", &folder)?;
        sync_parent(&folder)?;
        drop(lock);
        // It is no layer any more; what can't be removed now is removed by a collection.
        let _ = fs::remove_dir_all(&trashed);
        Ok(())
    }

    fn no_layer(&self, name: &LayerName) -> StoreError {
        let names: Vec<String> = fs::read_dir(self.layers_dir())
            .map(|folder| folder.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
            .unwrap_or_default();
        StoreError::NoLayer { name: name.to_string(), near: near(name.as_str(), names.iter().map(String::as_str)) }
    }
}

/// How the lock file begins while the process `pid` has the layer.
fn holder_of(pid: u32) -> String {
    format!("process {pid} ")
}

/// Who has a layer, by the file that tells it.
fn holder(path: &Path) -> String {
    let text = plain::read_to_string(path).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("another process").to_owned()
}

fn encode(config: &LayerConfig) -> Vec<u8> {
    // A plain struct of numbers and text always has a JSON form.
    let mut text = serde_json::to_vec_pretty(config).unwrap_or_default();
    text.push(b'\n');
    text
}

/// A layer in use by this process, or by one forked off it. Dropped, the layer is free.
#[derive(Debug)]
pub struct LayerLock {
    name: LayerName,
    /// The file that tells who has it.
    path: PathBuf,
    /// Locked.
    _folder: File,
}

impl LayerLock {
    /// The layer.
    pub fn name(&self) -> &LayerName {
        &self.name
    }

    /// Tells others who has the layer: this process, and what for.
    pub fn describe(&self, use_: &str) -> Result<()> {
        let text = format!("{}({use_})\n", holder_of(std::process::id()));
        // Written over what is there and cut then, so that no room is given up that a full disk may not have again. Whoever reads it
        // meanwhile reads the first line.
        let write = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
            file.write_all_at(text.as_bytes(), 0)?;
            file.set_len(text.len() as u64)
        };
        match write() {
            Err(error) if failure::is_full(&error) => {
                tracing::warn!(path = %self.path.display(), %error, "can't write down who uses the layer");
                Ok(())
            }
            done => done.context("write", &self.path),
        }
    }
}
