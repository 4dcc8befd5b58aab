//! Objects: put, read, shared, damaged.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/mod.rs"]
mod util;

use cairnfs::format::Digest;
use cairnfs::store::{ErrorClass, Store, StoreError};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use util::store;

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn what_is_put_comes_back_under_its_sha256() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    for size in [0, 1, 4096, 200_000, 1 << 20, (1 << 20) + 1, 3_333_333] {
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at / 3 % 251) as u8).collect();
        let put = writer.put_reader(&mut &bytes[..]).unwrap();
        assert_eq!((put.digest, put.size, put.existed), (Digest::of(&bytes), size as u64, false), "{size}");
        assert!(store.read_object(put.digest).unwrap() == bytes, "{size}");
        assert!(writer.put_bytes(&bytes).unwrap().existed);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let again = writer.put_file(&file, Path::new("file")).unwrap();
        assert_eq!((again.digest, again.existed), (put.digest, true), "{size}");
        let stat = fs::metadata(store.object_path(put.digest)).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.nlink()), (0o444, 1), "{size}");
    }
}

#[test]
fn a_sparse_file_stays_sparse() {
    let (_folder, store) = store();
    let source = tempfile::tempfile().unwrap();
    source.write_all_at(b"middle", 32 << 20).unwrap();
    source.set_len(64 << 20).unwrap();
    let put = store.writer("test").unwrap().put_file(&source, Path::new("source")).unwrap();
    assert_eq!(put.size, 64 << 20);
    store.verify_object(put.digest).unwrap();
    let blocks = fs::metadata(store.object_path(put.digest)).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks}");
}

#[test]
fn a_source_that_changes_while_it_is_read_gives_what_was_read() {
    let (folder, store) = store();
    let path = folder.path().join("source");
    fs::write(&path, vec![1; 8 << 20]).unwrap();
    let writer = store.writer("test").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let mut byte = 0u8;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                byte = byte.wrapping_add(1);
                for block in 0..2048 {
                    file.write_all_at(&[byte; 64], block * 4096).unwrap();
                }
            }
        });
        let put = |_| writer.put_file(&File::open(&path)?, &path).map_err(std::io::Error::other);
        let puts: Vec<_> = (0..10).map(put).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for put in puts {
            let put = put.unwrap();
            assert_eq!(put.size, 8 << 20);
            store.verify_object(put.digest).unwrap();
        }
    });
}

#[test]
fn threads_that_put_the_same_make_one_object() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    let new: usize = std::thread::scope(|scope| {
        let put = |_| {
            scope.spawn(|| {
                (0..200u32).filter(|number| !writer.put_bytes(&number.to_le_bytes()).unwrap().existed).count()
            })
        };
        let threads: Vec<_> = (0..4).map(put).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(new, 200);
    assert_eq!(util::objects(&store).len(), 200);
    assert_eq!(fs::read_dir(store.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn an_adopted_file_is_the_object() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    let path = store.path().join("layers/data");
    fs::write(&path, b"written in a layer").unwrap();
    let digest = Digest::of(b"written in a layer");
    assert!(!writer.adopt(&path, digest).unwrap().existed);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&path), inode(&store.object_path(digest)));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o444);

    let other = store.path().join("layers/other");
    fs::write(&other, b"written in a layer").unwrap();
    assert!(writer.adopt(&other, digest).unwrap().existed);
    assert_ne!(inode(&other), inode(&path));
}

#[test]
fn an_adopted_file_that_is_not_what_was_said_is_refused_or_named_rightly() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    // From another filesystem it is copied, and thereby hashed.
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    let others = ["/dev/shm", "/tmp"].into_iter().map(Path::new);
    let other = others.into_iter().find(|other| other.is_dir() && device(other) != device(store.path())).unwrap();
    let elsewhere = tempfile::tempdir_in(other).unwrap();
    let path = elsewhere.path().join("data");
    fs::write(&path, b"new").unwrap();
    writer.adopt(&path, Digest::of(b"old")).unwrap_err();
    assert!(!store.contains(Digest::of(b"old")));
    assert!(!writer.adopt(&path, Digest::of(b"new")).unwrap().existed || store.contains(Digest::of(b"new")));
    store.verify_object(Digest::of(b"new")).unwrap();
}

#[test]
fn damage_is_found_when_it_is_read() {
    let (_folder, store) = store();
    let put = store.writer("test").unwrap().put_bytes(b"precious").unwrap();
    overwrite(&store.object_path(put.digest), b"precioux");
    let error = store.read_object(put.digest).unwrap_err();
    assert!(matches!(error, StoreError::CorruptObject { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Corrupt);
    assert!(error.to_string().contains(&put.digest.to_string()), "{error}");
    store.verify_object(put.digest).unwrap_err();

    let absent = store.open_object(Digest::of(b"absent")).unwrap_err();
    assert!(matches!(absent, StoreError::MissingObject { .. }), "{absent}");
}

#[test]
fn an_object_of_the_wrong_length_is_replaced() {
    let (_folder, store) = store();
    let put = store.writer("first").unwrap().put_bytes(b"whole content").unwrap();
    let path = store.object_path(put.digest);
    for torn in [&b""[..], b"whole", b"whole content and more"] {
        overwrite(&path, torn);
        let mut reader = File::open(&path).unwrap();
        assert!(!store.writer("second").unwrap().put_bytes(b"whole content").unwrap().existed);
        store.verify_object(put.digest).unwrap();
        let mut old = Vec::new();
        reader.read_to_end(&mut old).unwrap();
        assert_eq!(old, torn, "who had it open keeps what they had");
    }
    assert_eq!(fs::read_dir(store.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn after_a_writer_was_cut_off_what_it_left_is_not_trusted() {
    let (_folder, store) = store();
    let before = store.writer("earlier").unwrap().put_bytes(b"before the crash").unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    File::open(store.object_path(before.digest)).unwrap().set_modified(long_ago).unwrap();

    let cut_off = store.writer("cut off").unwrap();
    let put = cut_off.put_bytes(b"never reached the disk").unwrap();
    let lease = fs::read_dir(store.path().join("leases")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read(&lease).unwrap();
    drop(cut_off);
    fs::write(&lease, text).unwrap(); // as the kernel leaves it behind a dead process
    overwrite(&store.object_path(put.digest), &vec![0; put.size as usize]); // as a power cut may leave it

    let writer = store.writer("next").unwrap();
    assert!(!writer.put_bytes(b"never reached the disk").unwrap().existed);
    store.verify_object(put.digest).unwrap();
    assert!(writer.put_bytes(b"never reached the disk").unwrap().existed);
    // What is older than the writer that was cut off isn't hashed again.
    overwrite(&store.object_path(before.digest), b"BEFORE THE CRASH");
    File::open(store.object_path(before.digest)).unwrap().set_modified(long_ago).unwrap();
    assert!(writer.put_bytes(b"before the crash").unwrap().existed);
}

#[test]
fn a_writer_that_ends_leaves_no_lease() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    writer.put_bytes(b"x").unwrap();
    assert_eq!(store.leases().unwrap().len(), 1);
    assert!(store.leases().unwrap()[0].alive);
    drop(writer);
    assert_eq!(store.leases().unwrap(), []);
}

/// Runs as a child of the test below.
#[test]
fn child_that_puts() {
    let Some(path) = std::env::var_os("CAIRNFS_TEST_CHILD_STORE") else { return };
    let store = Store::open(Path::new(&path)).unwrap();
    let writer = store.writer("child").unwrap();
    for number in 0..300u32 {
        let bytes = vec![number as u8; 10_000 + number as usize];
        assert_eq!(writer.put_bytes(&bytes).unwrap().digest, Digest::of(&bytes));
    }
}

#[test]
fn processes_that_put_the_same_make_one_object() {
    let (_folder, store) = store();
    let child = |_| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_puts"])
            .env("CAIRNFS_TEST_CHILD_STORE", store.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(child).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let all = util::objects(&store);
    assert_eq!(all.len(), 300);
    for digest in all {
        store.verify_object(digest).unwrap();
    }
    assert_eq!(store.leases().unwrap(), []);
}
