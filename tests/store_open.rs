//! Making and opening stores, layers' folders and mount records.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/mod.rs"]
mod util;

use cairnfs::format::LayerName;
use cairnfs::store::{ErrorClass, LayerConfig, MountRecord, Store, StoreError};
use std::fs;
use std::path::Path;
use util::{name, put_manifest, store};

#[test]
fn init_is_idempotent_also_when_raced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/store");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Store::init(&path).unwrap().id().to_owned())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 32), "{ids:?}");
    assert_eq!(Store::init(&path).unwrap().id(), ids[0]);
    assert_eq!(fs::read_dir(path.join("objects")).unwrap().count(), 256);
}

#[test]
fn what_is_not_a_store_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("absent")] {
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::NoStore { .. }), "{error}");
        assert!(error.to_string().contains("init"), "{error}");
        assert_eq!(error.class(), ErrorClass::NotFound);
    }
    fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
    let error = Store::init(folder.path()).unwrap_err();
    assert!(matches!(&error, StoreError::NotEmpty { found, .. } if found == "thesis.txt"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn another_version_is_refused_and_nothing_is_touched() {
    let (_folder, store) = store();
    let format = store.path().join("format");
    fs::write(&format, r#"{"format":7,"id":"x","more":[]}"#).unwrap();
    for outcome in [Store::open(store.path()), Store::init(store.path())] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, StoreError::UnknownVersion { found: 7, known: 1, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains('7') && text.contains('1') && text.contains(&*store.path().to_string_lossy()), "{text}");
    }
    assert_eq!(fs::read_to_string(&format).unwrap(), r#"{"format":7,"id":"x","more":[]}"#);
    fs::write(&format, "rubbish").unwrap();
    assert!(matches!(Store::open(store.path()), Err(StoreError::BadFormatFile { .. })));
}

#[test]
fn a_store_on_a_read_only_filesystem_can_be_read_and_says_why_not_written() {
    let (folder, store) = store();
    let writer = store.writer("test").unwrap();
    let manifest = put_manifest(&writer, "1", &[b"content"]);
    writer.set_ref(&name("a"), manifest).unwrap();
    drop(writer);
    let mounted = ReadOnly::bind(store.path(), &folder.path().join("ro"));
    let store = Store::open(&mounted.0).unwrap();
    assert_eq!(store.resolve("a").unwrap(), manifest);
    util::verify(&store, manifest);
    assert_eq!(store.refs().unwrap().len(), 1);
    // What is mounted is held by locks where no lease can be written.
    drop(store.lease("test", &[manifest]).unwrap());
    let error = store.writer("test").unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Refused);
    let error = store.remove_ref(&name("a")).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
}

/// A read-only bind mount, unmounted when dropped.
struct ReadOnly(std::path::PathBuf);

impl ReadOnly {
    fn bind(from: &Path, to: &Path) -> Self {
        use nix::mount::{MsFlags, mount};
        fs::create_dir(to).unwrap();
        mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let made = Self(to.to_owned());
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, to, None::<&str>, flags, None::<&str>).unwrap();
        made
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_object() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = {
        use nix::mount::{MsFlags, mount};
        let to = folder.path().to_owned();
        mount(Some("tmpfs"), &to, Some("tmpfs"), MsFlags::empty(), Some("size=2m")).unwrap();
        ReadOnly(to)
    };
    let store = Store::init(&mounted.0.join("store")).unwrap();
    let writer = store.writer("test").unwrap();
    let bytes: Vec<u8> = (0..4 << 20).map(|at: u32| (at / 7) as u8 | 1).collect();
    let error = writer.put_bytes(&bytes).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(util::objects(&store), []);
    assert!(!writer.put_bytes(b"small").unwrap().existed, "the space was given back");
}

fn layer(store: &Store, layer: &str) -> LayerConfig {
    let writer = store.writer("test").unwrap();
    let manifest = put_manifest(&writer, "base", &[b"content"]);
    let name: LayerName = layer.parse().unwrap();
    LayerConfig::new(name, manifest, "2024-01-02T03:04:05Z".to_owned())
}

#[test]
fn a_layer_is_made_listed_locked_changed_and_removed() {
    let (_folder, store) = store();
    let mut config = layer(&store, "build-1");
    let folder = store.create_layer(&config).unwrap();
    assert_eq!(folder, store.layer_dir(&config.name));
    assert!(store.layer_index_dir(&config.name).is_dir() && store.layer_data_dir(&config.name).is_dir());
    assert!(matches!(store.create_layer(&config), Err(StoreError::LayerExists { .. })));
    assert_eq!(store.layers().unwrap(), [config.clone()]);
    assert_eq!(fs::read_dir(store.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(store.leases().unwrap(), []);

    let lock = store.lock_layer(&config.name, "mounted on /mnt/x").unwrap();
    let busy = store.lock_layer(&config.name, "").unwrap_err();
    assert_eq!(busy.class(), ErrorClass::Refused);
    let holder = format!("process {} (mounted on /mnt/x)", std::process::id());
    assert!(busy.to_string().contains(&holder), "{busy}");
    assert!(matches!(store.remove_layer(&config.name), Err(StoreError::LayerBusy { .. })));
    config.parent = Some(config.base);
    store.write_layer(&lock, &config).unwrap();
    drop(lock);
    assert_eq!(store.layer(&config.name).unwrap(), config);

    store.remove_layer(&config.name).unwrap();
    assert_eq!(store.layers().unwrap(), []);
    assert_eq!(fs::read_dir(store.path().join("trash")).unwrap().count(), 0);
    let error = store.layer(&config.name).unwrap_err();
    assert!(matches!(error, StoreError::NoLayer { .. }), "{error}");
    assert!(matches!(store.lock_layer(&config.name, ""), Err(StoreError::NoLayer { .. })));
}

#[test]
fn a_layer_on_a_missing_base_is_not_made() {
    let (_folder, store) = store();
    let mut config = layer(&store, "x");
    config.base = cairnfs::format::Digest::of(b"absent");
    assert!(matches!(store.create_layer(&config), Err(StoreError::MissingObject { .. })));
    assert_eq!(store.layers().unwrap(), []);
}

#[test]
fn a_layer_without_its_description_is_an_error() {
    let (_folder, store) = store();
    let config = layer(&store, "x");
    store.create_layer(&config).unwrap();
    let path = store.layer_dir(&config.name).join("layer.json");
    for text in [None, Some("{"), Some("{}")] {
        match text {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        let error = store.layers().unwrap_err();
        assert!(matches!(&error, StoreError::BadLayer { path: named, .. } if *named == path), "{error}");
    }
    store.remove_layer(&config.name).unwrap();
    assert_eq!(store.layers().unwrap(), []);
}

#[test]
fn a_mount_is_known_while_its_daemon_lives() {
    let (_folder, store) = store();
    let id = store.new_mount_id();
    let record = MountRecord {
        id: id.clone(),
        pid: std::process::id(),
        mountpoint: "/mnt/x".into(),
        reference: "debian".to_owned(),
        manifest: cairnfs::format::Digest::of(b""),
        layer: None,
        tmpfs: false,
        socket: store.socket_path(&id),
        log: store.log_path(&id),
        started_unix_ms: 1,
    };
    let guard = store.publish_mount(&record).unwrap();
    fs::write(&record.socket, "").unwrap();
    let mounts = store.mounts().unwrap();
    assert_eq!((mounts.len(), &mounts[0].record, mounts[0].alive), (1, &record, true));
    assert!(!store.forget_dead_mount(&id).unwrap());
    let file = store.run_dir().join(format!("{id}.json"));
    let text = fs::read(&file).unwrap();
    drop(guard);
    assert_eq!(store.mounts().unwrap(), []);
    assert!(!record.socket.exists());

    fs::write(&file, text).unwrap(); // as a killed daemon leaves it
    assert!(!store.mounts().unwrap()[0].alive);
    assert!(store.forget_dead_mount(&id).unwrap());
    assert_eq!(fs::read_dir(store.run_dir()).unwrap().count(), 0);
}
