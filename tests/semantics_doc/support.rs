//! What several sections need.

use crate::common::mount::{Bench, TestMount};
use crate::common::spec::Spec;
use cairnfs::fuse::IoChoice;
use cairnfs::snapshot::{self, Report, Request};
use cairnfs::store::Store;
use cairnfs::vfs::Fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// From here on, clean files are read by passthrough.
pub const LARGE: usize = 1 << 20;

/// A store with `spec` as the ref `base`, for mounts by the program.
pub fn store(spec: &Spec) -> TempDir {
    let folder = TempDir::with_prefix("cairnfs-store-").unwrap();
    let store = Store::init(folder.path()).unwrap();
    let manifest = spec.store(&store);
    store.writer("a test").unwrap().set_ref(&"base".parse().unwrap(), manifest).unwrap();
    folder
}

/// A writable mount without passthrough.
pub fn cached(spec: &Spec) -> TestMount {
    let bench = Bench::new(spec);
    TestMount::mount(&bench, bench.with_layer("layer"), |options| options.io = IoChoice::Cached, None)
}

pub fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The error of a call that must fail.
pub fn errno<T, E: Into<std::io::Error>>(outcome: Result<T, E>) -> i32 {
    outcome.err().expect("the call fails").into().raw_os_error().unwrap()
}

pub fn take(mount: &TestMount, name: &str) -> Report {
    let request = Request { name: name.parse().unwrap(), labels: Default::default(), created_at: None, parent: None };
    snapshot::take(&mount.fs, &request, &mut |_| Ok(())).unwrap()
}

/// A read-only mount of a snapshot.
pub fn shown(mount: &TestMount, report: &Report) -> TestMount {
    let fs = Fs::read_only(&mount.bench.store, report.manifest).unwrap();
    TestMount::mount(&mount.bench, fs.into(), |_| {}, None)
}
