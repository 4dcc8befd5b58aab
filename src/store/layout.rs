//! Where things are: the only code that joins store paths. The drawing is in the head of `store`.

use crate::format::{Digest, LayerName, RefName};
use std::path::{Path, PathBuf};

/// The folders that `init` makes, `objects/` apart.
pub(super) const FOLDERS: [&str; 7] = ["refs", "history", "layers", "leases", "trash", "run", "tmp"];
/// The plain files at the top.
pub(super) const FILES: [&str; 3] = ["format", "lock", "gate"];

/// The paths of one store.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn top(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub(super) fn object(&self, digest: Digest) -> PathBuf {
        self.objects().join(object_file(digest))
    }

    pub(super) fn object_folder(&self, first: u8) -> PathBuf {
        self.objects().join(format!("{first:02x}"))
    }

    pub(super) fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }

    pub(super) fn reference(&self, name: &RefName) -> PathBuf {
        self.refs().join(name.as_str())
    }

    pub(super) fn histories(&self) -> PathBuf {
        self.root.join("history")
    }

    /// The `@`, which no ref name holds, lets `a` and `a/b` have histories although they can't both be refs at one time.
    pub(super) fn history(&self, name: &RefName) -> PathBuf {
        self.histories().join(format!("{name}@"))
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(super) fn layer(&self, name: &LayerName) -> PathBuf {
        self.layers().join(name.as_str())
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    pub(super) fn lease(&self, file: &str) -> PathBuf {
        self.leases().join(file)
    }

    pub(super) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(super) fn trash_batch(&self, millis: u64) -> PathBuf {
        self.trash().join(millis.to_string())
    }

    pub(super) fn trashed(&self, millis: u64, digest: Digest) -> PathBuf {
        self.trash_batch(millis).join(object_file(digest))
    }

    pub(super) fn trashed_layer(&self, name: &LayerName, millis: u64) -> PathBuf {
        self.trash().join(format!("layer-{millis}-{name}"))
    }

    pub(super) fn caches(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(super) fn cache(&self, key: Digest) -> PathBuf {
        self.caches().join(key.to_string())
    }

    pub(super) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(super) fn run_file(&self, id: &str, kind: &str) -> PathBuf {
        self.run().join(format!("{id}.{kind}"))
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn tmp_file(&self, name: &str) -> PathBuf {
        self.tmp().join(name)
    }
}

/// An object's path within `objects/` or a batch of the trash: two digits, `/`, and the other 62.
fn object_file(digest: Digest) -> String {
    let mut text = digest.to_string();
    text.insert(2, '/');
    text
}

/// Files of a layer, within its folder.
pub(super) mod layer {
    use std::path::{Path, PathBuf};

    pub(crate) fn config(folder: &Path) -> PathBuf {
        folder.join("layer.json")
    }

    pub(crate) fn lock(folder: &Path) -> PathBuf {
        folder.join("lock")
    }

    pub(crate) fn new(folder: &Path) -> PathBuf {
        folder.join("new")
    }

    pub(crate) fn data(folder: &Path) -> PathBuf {
        folder.join("data")
    }

    pub(crate) fn index(folder: &Path) -> PathBuf {
        folder.join("index")
    }
}

/// The digest that an object's folder and file name spell, if they do.
pub(super) fn digest_of(folder: &str, file: &str) -> Option<Digest> {
    if folder.len() != 2 || file.len() != 62 {
        return None;
    }
    format!("{folder}{file}").parse().ok()
}
