//! Section "Import and export": that a tree comes back as it was. Directories are in `tests/import_dir.rs` and `tests/export_dir.rs`, archives
//! in `tests/import_tar.rs`, `tests/export_tar.rs` and `tests/import_hostile.rs`, statement by statement.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use cairnfs::ingest::{ImportOptions, Progress, import_dir};
use std::fs;
use std::os::unix::fs::MetadataExt;
use tempfile::TempDir;

#[test]
fn an_imported_directory_is_mounted_as_it_was() {
    let spec = Spec::new()
        .file("dir/file", "x")
        .mode("dir/file", 0o4711)
        .owner("dir/file", 1000, 1001)
        .xattr("dir/file", "user.x", b"value")
        .link("linked", "dir/file")
        .symlink("link", "dir/file")
        .fifo("fifo")
        .char_device("device", 1, 3)
        .dir("empty")
        .mode("empty", 0o3777);
    let source = TempDir::new().unwrap();
    spec.write_to(&source.path().join("tree"));
    let bench = crate::common::mount::Bench::new(&Spec::new());
    let options = ImportOptions::new("imported".parse().unwrap());
    let imported = import_dir(&bench.store, &source.path().join("tree"), &options, &Progress::default()).unwrap();
    let fs = cairnfs::vfs::Fs::read_only(&bench.store, imported.manifest).unwrap();
    let mount = TestMount::mount(&bench, fs.into(), |_| {}, None);
    for path in ["", "dir", "dir/file", "linked", "link", "fifo", "device", "empty"] {
        let look = |root: &std::path::Path| {
            let metadata = fs::symlink_metadata(root.join(path)).unwrap();
            let owner = (metadata.uid(), metadata.gid(), metadata.mode(), metadata.nlink());
            (owner, metadata.rdev(), metadata.mtime(), metadata.mtime_nsec())
        };
        assert_eq!(look(mount.root()), look(&source.path().join("tree")), "{path}");
    }
    let ino = |path: &str| fs::metadata(mount.at(path)).unwrap().ino();
    assert_eq!(ino("linked"), ino("dir/file"));
    assert_eq!(xattr::get(mount.at("linked"), "user.x").unwrap().as_deref(), Some(&b"value"[..]));
    mount.stop();
}
