//! Refs: set, moved, taken back, found by what a person types.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/mod.rs"]
mod util;

use cairnfs::format::Digest;
use cairnfs::store::{ErrorClass, Operation, Store, StoreError};
use std::fs;
use std::io::Write;
use util::{name, put_manifest, store};

fn set(store: &Store, to: &str, label: &str) -> Digest {
    let writer = store.writer("test").unwrap();
    let manifest = put_manifest(&writer, label, &[b"one", b"two"]);
    writer.set_ref(&name(to), manifest).unwrap();
    manifest
}

fn names(store: &Store) -> Vec<String> {
    store.refs().unwrap().into_iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn a_ref_names_the_manifest_it_was_set_to_last() {
    let (_folder, store) = store();
    let one = set(&store, "web/base", "one");
    let two = set(&store, "web/base", "two");
    assert_ne!(one, two);
    let again = Store::open(store.path()).unwrap();
    assert_eq!(again.resolve_ref(&name("web/base")).unwrap(), two);
    assert_eq!(again.refs().unwrap(), [(name("web/base"), two)]);
    let text = fs::read_to_string(store.path().join("refs/web/base")).unwrap();
    assert_eq!(text, format!("{two}\n"));
    assert_eq!(fs::read_dir(store.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn set_ref_tells_what_it_replaced_and_setting_it_again_is_no_change() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    let (one, two) = (put_manifest(&writer, "one", &[]), put_manifest(&writer, "two", &[]));
    assert_eq!(writer.set_ref(&name("a"), one).unwrap(), None);
    assert_eq!(writer.set_ref(&name("a"), two).unwrap(), Some(one));
    assert_eq!(writer.set_ref(&name("a"), two).unwrap(), Some(two));
    assert_eq!(store.ref_history(&name("a")).unwrap().len(), 2);
}

#[test]
fn only_a_manifest_that_is_there_can_be_named() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    let absent = writer.set_ref(&name("a"), Digest::of(b"absent")).unwrap_err();
    assert!(matches!(absent, StoreError::MissingObject { .. }), "{absent}");
    let blob = writer.put_bytes(b"no manifest").unwrap().digest;
    let error = writer.set_ref(&name("a"), blob).unwrap_err();
    assert!(matches!(error, StoreError::CorruptObject { .. }), "{error}");
    assert_eq!(names(&store), Vec::<String>::new());
}

#[test]
fn a_ref_and_a_folder_of_refs_cannot_share_a_name() {
    let (_folder, store) = store();
    set(&store, "a/b", "one");
    let writer = store.writer("test").unwrap();
    let manifest = put_manifest(&writer, "two", &[]);
    for (refused, other) in [("a", "a/b"), ("a/b/c", "a/b"), ("a/b/c/d", "a/b")] {
        match writer.set_ref(&name(refused), manifest).unwrap_err() {
            StoreError::RefConflict { name, other: found } => assert_eq!((&*name, &*found), (refused, other)),
            error => panic!("{error}"),
        }
    }
    store.remove_ref(&name("a/b")).unwrap();
    assert!(!store.path().join("refs/a").exists(), "the empty folder is gone");
    fs::create_dir_all(store.path().join("refs/a/left/over")).unwrap();
    writer.set_ref(&name("a"), manifest).unwrap();
    assert_eq!(names(&store), ["a"]);
    // Both have had histories.
    assert_eq!(store.refs_with_history().unwrap(), [name("a"), name("a/b")]);
}

#[test]
fn moves_and_removals_are_taken_back_one_by_one() {
    let (_folder, store) = store();
    let debian = name("debian");
    let (one, two, three) = (set(&store, "debian", "1"), set(&store, "debian", "2"), set(&store, "debian", "3"));
    assert_eq!(store.remove_ref(&debian).unwrap(), three);
    assert!(matches!(store.resolve_ref(&debian), Err(StoreError::NoRef { .. })));
    assert!(matches!(store.remove_ref(&debian), Err(StoreError::NoRef { .. })));
    for expected in [three, two, one] {
        assert_eq!(store.undo_ref(&debian).unwrap(), expected);
        assert_eq!(store.resolve_ref(&debian).unwrap(), expected);
    }
    assert!(matches!(store.undo_ref(&debian), Err(StoreError::NothingToUndo { .. })));
    assert!(matches!(store.undo_ref(&name("never")), Err(StoreError::NothingToUndo { .. })));
    let ops: Vec<Operation> = store.ref_history(&debian).unwrap().iter().map(|change| change.op).collect();
    use Operation::{Remove, Set, Undo};
    assert_eq!(ops, [Set, Set, Set, Remove, Undo, Undo, Undo]);
    // and a new change after that is taken back as well
    set(&store, "debian", "4");
    assert_eq!(store.undo_ref(&debian).unwrap(), one);
}

#[test]
fn a_change_that_a_crash_cut_off_did_not_happen() {
    let (_folder, store) = store();
    let (one, two) = (set(&store, "a", "1"), set(&store, "a", "2"));
    let history = store.path().join("history/a@");
    let mut file = fs::OpenOptions::new().append(true).open(&history).unwrap();
    // A line whose ref was never moved, and one that is cut short.
    writeln!(file, r#"{{"time_unix_ms":1,"op":"set","old":"{two}","new":"{one}"}}"#).unwrap();
    write!(file, r#"{{"time_unix_ms":1,"op":"se"#).unwrap();
    assert_eq!(store.ref_history(&name("a")).unwrap().len(), 2);
    let three = set(&store, "a", "3");
    let news: Vec<_> = store.ref_history(&name("a")).unwrap().iter().map(|change| change.new.unwrap()).collect();
    assert_eq!(news, [one, two, three]);
    assert_eq!(store.undo_ref(&name("a")).unwrap(), two);
}

#[test]
fn a_ref_that_cannot_be_read_is_an_error_and_never_left_out() {
    let (_folder, store) = store();
    set(&store, "good", "1");
    let path = store.path().join("refs/bad");
    for (text, hidden) in [("not a digest\n", false), ("", false), ("", true)] {
        let path = if hidden { path.with_file_name(".hidden") } else { path.clone() };
        fs::write(&path, text).unwrap();
        match store.refs().unwrap_err() {
            StoreError::BadRef { path: named, .. } => assert_eq!(named, path),
            error => panic!("{error}"),
        }
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(names(&store), ["good"]);
}

#[test]
fn a_damaged_history_names_its_line() {
    let (_folder, store) = store();
    set(&store, "a", "1");
    let history = store.path().join("history/a@");
    let text = fs::read_to_string(&history).unwrap();
    fs::write(&history, format!("{text}rubbish\n{text}")).unwrap();
    match store.ref_history(&name("a")).unwrap_err() {
        StoreError::BadHistory { path, line, .. } => assert_eq!((path, line), (history, 2)),
        error => panic!("{error}"),
    }
}

#[test]
fn a_manifest_is_found_by_name_digest_and_start_of_digest() {
    let (_folder, store) = store();
    let one = set(&store, "debian", "1");
    let hex = one.to_string();
    for text in ["debian", &hex, &hex[..8], &hex[..40]] {
        assert_eq!(store.resolve(text).unwrap(), one, "{text}");
    }
    for text in [&hex[..7], "debain", "zzz", &"0".repeat(64), "", "../x"] {
        let error = store.resolve(text).unwrap_err();
        assert!(matches!(error, StoreError::NoRef { .. }), "{text}: {error}");
        assert_eq!(error.class(), ErrorClass::NotFound);
    }
    assert!(store.resolve("debain").unwrap_err().to_string().contains("did you mean `debian`"));
    // The start of a blob's digest names no manifest.
    let blob = Digest::of(b"one").to_string();
    assert!(matches!(store.resolve(&blob[..12]), Err(StoreError::NoRef { .. })));
}

#[test]
fn many_at_once_move_a_ref_and_its_history_is_a_chain() {
    let (_folder, store) = store();
    let writer = store.writer("test").unwrap();
    let manifests: Vec<Digest> = (0..4).map(|number| put_manifest(&writer, &number.to_string(), &[])).collect();
    std::thread::scope(|scope| {
        for &manifest in &manifests {
            let store = &store;
            scope.spawn(move || {
                let writer = store.writer("mover").unwrap();
                for _ in 0..3 {
                    writer.set_ref(&name("a/b"), manifest).unwrap();
                    store.refs().unwrap();
                }
            });
        }
    });
    let history = store.ref_history(&name("a/b")).unwrap();
    assert_eq!(history.first().unwrap().old, None);
    assert_eq!(history.last().unwrap().new, Some(store.resolve_ref(&name("a/b")).unwrap()));
    assert!(history.windows(2).all(|pair| pair[0].new == pair[1].old));
    let text = fs::read_to_string(store.path().join("history/a/b@")).unwrap();
    assert_eq!(text.lines().count(), history.len(), "every line happened");
}
