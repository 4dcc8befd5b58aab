//! Bytes that a failing disk or a hostile hand left in the files of a layer's database: the check says so, and neither panics nor hangs.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that can't go on shall panic, and says its seed")]

mod fsck_util;

use cairnfs::store::LayerConfig;
use fsck_util::random::{Random, number};
use fsck_util::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A layer whose database has tables and a journal.
fn bench() -> Bench {
    let bench = Bench::with_changes();
    let fs = bench.open();
    let wide = [b'x'; 60_000];
    for n in 0..100 {
        let ino = create(&fs, &format!("made/wide {n}"), "");
        fs.set_xattr(ROOT, ino, b"user.wide", &wide, cairnfs::vfs::XattrMode::Set).unwrap();
    }
    for n in 0..100 {
        create(&fs, &format!("made/late {n}"), "");
    }
    close(fs);
    bench.expect_clean();
    // Into the store, where the program finds it.
    let config = LayerConfig::new("work".parse().unwrap(), bench.base, "2026-01-01T00:00:00Z".to_owned());
    let folder = bench.store.create_layer(&config).unwrap();
    fs::remove_file(folder.join("new")).unwrap();
    for part in ["index", "data", "index.mark"] {
        let target = folder.join(part);
        if target.is_dir() {
            fs::remove_dir(&target).unwrap();
        }
        fs::rename(bench.layer().join(part), target).unwrap();
    }
    bench
}

fn index(bench: &Bench) -> PathBuf {
    bench.store.layer_index_dir(&"work".parse().unwrap())
}

/// Files of the database with where their content ends.
fn files(index: &Path) -> Vec<(PathBuf, u64)> {
    let ends = tree_of(index).into_iter().map(|(path, bytes)| {
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        (path, end as u64)
    });
    ends.filter(|(_, end)| *end > 0).collect()
}

/// What the program says of the layer; the test panics when it takes too long, or ends otherwise than by an exit code of a check.
fn check(bench: &Bench, case: &str) -> Value {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_cairnfs"));
    command.arg("--store").arg(bench.store.path()).args(["--json", "fsck", "work"]).timeout(Duration::from_secs(120));
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 5)), "{case}: {}: {errors}", output.status);
    assert!(!errors.contains("panicked"), "{case}: {errors}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["layers"][0].clone()
}

fn is_sound(report: &Value) -> bool {
    report["sound"].as_bool().unwrap()
}

/// Damages a file of `end` bytes of content, and tells how.
fn damage(path: &Path, end: u64, random: &mut Random) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = random.below(end) as usize;
    let length = (1 + random.below(64) as usize).min(end as usize - at);
    let told = match random.below(6) {
        0..=2 => {
            bytes[at] ^= 1 << random.below(8);
            "a bit flipped"
        }
        3 => {
            bytes[at..at + length].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
            "random bytes"
        }
        4 => {
            bytes[at..at + length].fill(0);
            "zeros"
        }
        _ => {
            bytes.truncate(at);
            "cut off"
        }
    };
    fs::write(path, bytes).unwrap();
    format!("{told} at {at}")
}

#[test]
fn damaged_bytes_of_the_database_are_told_and_never_a_panic_or_a_hang() {
    let bench = bench();
    let records = check(&bench, "before")["records"].clone();
    let index = index(&bench);
    let whole = tree_of(&index);
    let files = files(&index);
    assert!(files.iter().any(|(path, _)| path.parent().unwrap().ends_with("tables")), "{files:?}");
    let first = number("CAIRNFS_TEST_SEED", 1);
    let mut silent = Vec::new();
    for seed in first..first + number("CAIRNFS_TEST_SEQUENCES", 10) {
        let mut random = Random(seed);
        let (path, end) = &files[random.below(files.len() as u64) as usize];
        let told = damage(path, *end, &mut random);
        let case = format!("seed {seed}, {told} of {}", path.strip_prefix(&index).unwrap().display());
        let report = check(&bench, &case);
        // What was cut off the journal's end is as if the machine had stopped before it was written.
        if is_sound(&report) && report["records"] != records && report["recovery"].is_null() {
            silent.push(format!("{case}: {} of {records} records", report["records"]));
        }
        let bytes = &whole.iter().find(|(file, _)| file == path).unwrap().1;
        fs::write(path, bytes).unwrap();
    }
    assert!(silent.is_empty(), "records are missing, and the check says nothing:\n{}", silent.join("\n"));
    assert!(is_sound(&check(&bench, "after")));
}

#[test]
fn a_file_of_the_database_that_is_gone_is_told() {
    let bench = bench();
    let index = index(&bench);
    let records = check(&bench, "before")["records"].clone();
    let mut told = 0;
    let mut silent = Vec::new();
    // What the keyspaces are listed in, and one of them, which is as the others.
    let other = |path: &Path| ["keyspaces/2", "keyspaces/3"].iter().any(|folder| path.starts_with(index.join(folder)));
    for (path, _) in files(&index).into_iter().filter(|(path, _)| !other(path)) {
        let aside = bench.folder.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        let case = path.strip_prefix(&index).unwrap().display().to_string();
        // Files of former versions of a table's list may lie about; nothing is in them.
        let report = check(&bench, &case);
        if is_sound(&report) && report["records"] != records {
            silent.push(case);
        }
        told += usize::from(!is_sound(&report));
        fs::rename(&aside, &path).unwrap();
    }
    assert!(told > 5, "{told}");
    assert!(silent.is_empty(), "gone, and the check says nothing: {silent:?}");
    assert!(is_sound(&check(&bench, "after")));
}

/// The first bytes of a keyspace's list of tables have no checksum: the database library asserts what they are, which aborts its process.
#[test]
fn a_database_that_ends_the_process_that_opens_it_is_told_by_another() {
    let bench = bench();
    let folder = index(&bench).join("keyspaces/1");
    let is_list = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with('v');
    let mut lists = files(&folder);
    lists.retain(|(path, _)| path.parent() == Some(&folder) && is_list(path));
    // The newest is the one in use.
    let path = &lists.iter().max_by_key(|(path, _)| fs::metadata(path).unwrap().modified().unwrap()).unwrap().0;
    let whole = fs::read(path).unwrap();
    let aborts = (0..12).any(|at| {
        let mut bytes = whole.clone();
        bytes[at] = 9;
        fs::write(path, bytes).unwrap();
        let report = check(&bench, &format!("byte {at} of {}", path.display()));
        let problem = &report["problems"][0];
        problem["code"] == "database-unreadable" && problem["what"].as_str().unwrap().contains("SIGABRT")
    });
    assert!(aborts, "no such byte in {:?}", &whole[..12]);
    fs::write(path, whole).unwrap();
    assert!(is_sound(&check(&bench, "after")));
}
