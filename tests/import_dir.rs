//! Directories in and out: everything kept, the same manifest whatever happens around it, and errors that name what is wrong.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod ingest_util;

use cairnfs::format::Digest;
use cairnfs::ingest::{Exclude, ExportOptions, IngestError, Progress, export_dir, import_dir};
use cairnfs::sys::at;
use ingest_util::skip::possible;
use ingest_util::*;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn tree(lab: &Lab) -> std::path::PathBuf {
    let source = lab.dir("source");
    make_tree(&source);
    source
}

#[test]
fn every_kind_of_object_comes_back_as_it_was() {
    if !possible(&["rsync"]) {
        return;
    }
    let lab = Lab::new();
    let source = tree(&lab);
    let imported = lab.import_dir(&source);
    let exported = lab.export_dir(imported.manifest, "exported");
    assert_eq!(differences(&source, &exported), "");
    let links = |path: &str| fs::symlink_metadata(exported.join(path)).unwrap().nlink();
    assert_eq!((links("a/linked"), links("linked symlink"), links("linked fifo")), (3, 2, 2));
    let again = lab.import_dir(&exported);
    assert_eq!(again.manifest, imported.manifest);
    assert_eq!((again.new_blobs, again.new_bytes), (0, 0));
}

#[test]
fn comparison_would_notice() {
    if !possible(&["rsync"]) {
        return;
    }
    let lab = Lab::new();
    let source = tree(&lab);
    let exported = lab.export_dir(lab.import_dir(&source).manifest, "exported");
    at::set_times_at(at::open_dir(&exported).unwrap(), b"link", (1, 1)).unwrap();
    assert_ne!(differences(&source, &exported), "");
}

#[test]
fn counts_say_what_was_stored() {
    let lab = Lab::new();
    let source = lab.dir("source");
    for (name, content) in [("a", "same"), ("b", "same"), ("c", "other"), ("d", "four")] {
        write(&source.join(name), content.as_bytes());
    }
    fs::hard_link(source.join("d"), source.join("e")).unwrap();
    symlink("a", source.join("f")).unwrap();
    fs::create_dir(source.join("g")).unwrap();
    let imported = lab.import_dir(&source);
    assert_eq!((imported.new_blobs, imported.deduplicated, imported.regular_files), (3, 1, 4));
    assert_eq!((imported.entries, imported.bytes), (7, 4 + 4 + 5 + 4));
    assert!(imported.new_bytes > 4 + 5 + 4);
    assert_eq!(lab.store.resolve_ref(&"test".parse().unwrap()).unwrap(), imported.manifest);
    let manifest = lab.store.read_manifest(imported.manifest).unwrap();
    assert_eq!((manifest.totals.entries, manifest.totals.files, manifest.totals.bytes), (7, 5, 17));
    assert_eq!(manifest.created_at, "2024-05-01T12:00:00Z");
    let json = serde_json::to_value(&imported).unwrap();
    assert_eq!(json["manifest"], imported.manifest.to_string());
    assert!(json["duration_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let lab = Lab::new();
    let source = lab.dir("source");
    for dir in 0..20 {
        fs::create_dir(source.join(dir.to_string())).unwrap();
        for file in 0..30 {
            write(&source.join(format!("{dir}/{file}")), format!("{dir} {}", file % 7).as_bytes());
            fs::hard_link(source.join(format!("{dir}/{file}")), source.join(format!("{}/x{dir}.{file}", dir / 2)))
                .unwrap();
        }
    }
    let manifest = |threads: usize| {
        let lab = Lab::new();
        let mut options = options();
        options.threads = NonZeroUsize::new(threads);
        import_dir(&lab.store, &source, &options, &Progress::default()).unwrap().manifest
    };
    let first = manifest(1);
    for threads in [2, 3, 16] {
        assert_eq!(manifest(threads), first);
    }
}

#[test]
fn a_link_out_of_the_tree_is_an_ordinary_file() {
    let lab = Lab::new();
    let (linked, single) = (lab.dir("linked"), lab.dir("single"));
    for dir in [&linked, &single] {
        write(&dir.join("file"), b"content");
    }
    fs::hard_link(linked.join("file"), lab.path("elsewhere")).unwrap();
    for dir in [&linked, &single] {
        at::set_times_at(at::open_dir(dir).unwrap(), b"file", (1, 2)).unwrap();
        at::set_times_fd(at::open_dir(dir).unwrap(), (3, 4)).unwrap();
    }
    assert_eq!(lab.import_dir(&linked).manifest, lab.import_dir(&single).manifest);
}

#[test]
fn two_imports_at_once_share_a_store() {
    let lab = Lab::new();
    let source = lab.dir("source");
    (0..300).for_each(|n| write(&source.join(n.to_string()), format!("{}", n / 2).as_bytes()));
    let import = |name: &str| {
        let mut options = options();
        options.name = name.parse().unwrap();
        import_dir(&lab.store, &source, &options, &Progress::default()).unwrap()
    };
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| import("first"));
        let second = scope.spawn(|| import("second"));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(first.new_blobs + second.new_blobs, 150);
    let root = |manifest: Digest| lab.store.read_manifest(manifest).unwrap().root;
    assert_eq!(root(first.manifest), root(second.manifest));
    lab.export_dir(first.manifest, "first");
    lab.export_dir(second.manifest, "second");
}

/// Makes directories one in another, `depth` deep, with a file in the last: deeper than paths may be long.
fn make_deep(root: &Path, depth: usize) {
    let mut dir = at::open_dir(root).unwrap();
    for _ in 0..depth {
        at::make_dir_at(&dir, b"d").unwrap();
        dir = at::open_dir_at(&dir, b"d").unwrap();
    }
    at::create_at(&dir, b"bottom").unwrap().write_all_at(b"deep", 0).unwrap();
}

/// Removes such a tree when dropped, which programs that recurse or use paths can't.
struct RemoveDeep(std::path::PathBuf);

impl Drop for RemoveDeep {
    fn drop(&mut self) {
        let Ok(mut dir) = at::open_dir(&self.0) else { return };
        let mut depth = 0;
        while let Ok(below) = at::open_dir_at(&dir, b"d") {
            depth += 1;
            dir = below;
        }
        let _ = at::unlink_at(&dir, b"bottom");
        for _ in 0..depth {
            dir = at::open_dir_at(&dir, b"..").unwrap();
            nix::unistd::unlinkat(&dir, "d", nix::unistd::UnlinkatFlags::RemoveDir).unwrap();
        }
    }
}

#[test]
fn trees_deeper_than_paths_and_descriptors() {
    const DEPTH: usize = 10_000;
    let lab = Lab::new();
    let source = lab.dir("source");
    let _removed = [RemoveDeep(source.clone()), RemoveDeep(lab.path("exported"))];
    make_deep(&source, DEPTH);
    let imported = lab.import_dir(&source);
    assert_eq!(imported.entries, DEPTH as u64 + 1);
    let exported = lab.export_dir(imported.manifest, "exported");
    let again = lab.import_dir(&exported);
    assert_eq!(again.manifest, imported.manifest);
}

#[test]
fn holes_stay_holes() {
    let lab = Lab::new();
    let source = lab.dir("source");
    let file = File::create(source.join("sparse")).unwrap();
    file.write_all_at(b"x", 200 << 20).unwrap();
    file.set_len(400 << 20).unwrap();
    let imported = lab.import_dir(&source);
    assert_eq!(imported.bytes, 400 << 20);
    let exported = lab.export_dir(imported.manifest, "exported").join("sparse");
    let used = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    assert_eq!(fs::metadata(&exported).unwrap().len(), 400 << 20);
    assert!(used(&exported) < 1 << 20, "{}", used(&exported));
    let total: u64 = walk_files(lab.store.path()).iter().map(|path| used(path)).sum();
    assert!(total < 4 << 20, "{total}");
}

fn walk_files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() { dirs.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
}

fn refused(lab: &Lab, source: &Path) -> IngestError {
    let error = import_dir(&lab.store, source, &options(), &Progress::default()).unwrap_err();
    assert!(lab.store.refs().unwrap().is_empty(), "a failed import must leave no ref");
    error
}

#[test]
fn the_control_directory_s_name_is_refused_unless_allowed() {
    let lab = Lab::new();
    let source = lab.dir("source");
    fs::create_dir_all(source.join("sub/.ctl")).unwrap();
    lab.import_dir(&source);
    lab.store.remove_ref(&"test".parse().unwrap()).unwrap();
    write(&source.join(".ctl"), b"");
    let error = refused(&lab, &source);
    assert!(error.to_string().contains("`.ctl`") && error.to_string().contains("ctl=off"), "{error}");
    let mut options = options();
    options.allow_ctl = true;
    assert_eq!(import_dir(&lab.store, &source, &options, &Progress::default()).unwrap().entries, 3);
}

#[test]
fn the_store_is_not_imported_into_itself() {
    let lab = Lab::new();
    let error = refused(&lab, lab.temp.path());
    assert!(error.to_string().contains("`store` is the store itself"), "{error}");
    let mut options = options();
    options.exclude = vec![Exclude::new("store").unwrap()];
    import_dir(&lab.store, lab.temp.path(), &options, &Progress::default()).unwrap();
}

#[test]
fn what_is_excluded_is_left_out() {
    let lab = Lab::new();
    let source = lab.dir("source");
    fs::create_dir_all(source.join("proc/1")).unwrap();
    fs::create_dir_all(source.join("a/cache/x")).unwrap();
    write(&source.join("a/keep"), b"");
    let mut options = options();
    options.exclude = ["proc/*", "**/cache"].map(|pattern| Exclude::new(pattern).unwrap()).to_vec();
    let imported = import_dir(&lab.store, &source, &options, &Progress::default()).unwrap();
    let exported = lab.export_dir(imported.manifest, "exported");
    assert!(exported.join("proc").is_dir() && exported.join("a/keep").is_file());
    assert!(!exported.join("proc/1").exists() && !exported.join("a/cache").exists());
}

#[test]
fn a_file_that_hides_its_length_is_no_empty_file() {
    let lab = Lab::new();
    assert!(matches!(refused(&lab, Path::new("/proc/sys/kernel")), IngestError::Changed { .. }));
}

#[test]
fn a_missing_source_is_named() {
    let lab = Lab::new();
    let error = refused(&lab, &lab.path("no such"));
    assert!(error.to_string().contains("no such") && error.to_string().contains("No such file"), "{error}");
    write(&lab.path("file"), b"");
    assert!(refused(&lab, &lab.path("file")).to_string().contains("Not a directory"));
}

#[test]
fn a_file_that_never_rests_is_an_error_or_whole() {
    let lab = Lab::new();
    let source = lab.dir("source");
    let path = source.join("busy");
    write(&path, &vec![b'a'; 2 << 20]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().write(true).open(&path).unwrap();
            for letter in (b'a'..=b'z').cycle() {
                file.write_all_at(&vec![letter; 2 << 20], 0).unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..5 {
            match import_dir(&lab.store, &source, &options(), &Progress::default()) {
                Ok(_) => {}
                Err(IngestError::Changed { path, .. }) => assert_eq!(path.to_string(), "busy"),
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    for path in walk_files(&lab.store.path().join("objects")) {
        let hex: String = path
            .iter()
            .rev()
            .take(2)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .map(|part| part.to_str().unwrap())
            .collect();
        assert_eq!(Digest::of(&fs::read(&path).unwrap()).to_string(), hex);
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.dir("source");
    fs::set_permissions(lab.temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
    write(&source.join("open"), b"");
    write(&source.join("closed"), b"");
    fs::set_permissions(source.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let store = lab.dir("theirs");
    std::os::unix::fs::chown(&store, Some(65534), Some(65534)).unwrap();
    let binary = std::env::current_exe().unwrap();
    let copy = lab.path("tester");
    fs::copy(&binary, &copy).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", "--ignored", "--nocapture", "as_another_user"])
        .env("CAIRNFS_TEST_SOURCE", &source)
        .env("CAIRNFS_TEST_STORE", store.join("store"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("can't open `closed`: Permission denied"), "{text}");
    assert!(text.contains("properties couldn't be restored") && text.contains("owner of"), "{text}");
}

/// Run by `what_cannot_be_read_is_named`, as another user.
#[test]
#[ignore = "run by another test"]
fn as_another_user() {
    let variable = |name| std::path::PathBuf::from(std::env::var_os(name).unwrap());
    let (source, store) = (variable("CAIRNFS_TEST_SOURCE"), variable("CAIRNFS_TEST_STORE"));
    let store = cairnfs::store::Store::init(&store).unwrap();
    println!("{}", import_dir(&store, &source, &options(), &Progress::default()).unwrap_err());
    let mut options = options();
    options.exclude = vec![Exclude::new("closed").unwrap()];
    let imported = import_dir(&store, &source, &options, &Progress::default()).unwrap();
    let out = store.path().with_file_name("out");
    let error = export_dir(&store, imported.manifest, &out, &ExportOptions::default(), &Progress::default());
    println!("{}", error.unwrap_err());
    let without = ExportOptions { owners: false, ..ExportOptions::default() };
    export_dir(&store, imported.manifest, &out.with_file_name("out2"), &without, &Progress::default()).unwrap();
}
