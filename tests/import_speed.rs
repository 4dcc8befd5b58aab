//! How long an import takes against merely hashing the same files with two threads. Not a test of truth, so it is run by hand:
//! `CAIRNFS_MEASURE=DIR cargo test --release --test import_speed -- --ignored --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can't go on shall panic, and one that is skipped says so"
)]

mod ingest_util;

use cairnfs::format::Hasher;
use cairnfs::ingest::{Progress, import_dir, import_tar};
use ingest_util::*;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const ROUNDS: usize = 5;

fn hash_all(source: &Path) {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut dirs = vec![source.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; 256 * 1024];
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (mut file, mut hasher) = (File::open(path).unwrap(), Hasher::default());
            loop {
                match file.read(&mut buffer).unwrap() {
                    0 => break,
                    got => hasher.update(&buffer[..got]),
                }
            }
            std::hint::black_box(hasher.finish());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[test]
#[ignore = "measures; run by hand on a quiet machine"]
fn import_against_hashing() {
    let source = PathBuf::from(std::env::var_os("CAIRNFS_MEASURE").expect("CAIRNFS_MEASURE names a directory"));
    let archive = tempfile::NamedTempFile::new().unwrap();
    let arguments = ["--xattrs", "--format=posix", "-cf"].map(OsStr::new);
    run("tar", &[&arguments[..], &[archive.path().as_os_str(), "-C".as_ref(), source.as_ref(), ".".as_ref()]].concat());
    let mut times: [Vec<f64>; 5] = Default::default();
    hash_all(&source);
    // kept until the end: ext4 is slow to make files for some seconds after many were removed
    let mut labs = Vec::new();
    for _ in 0..ROUNDS {
        labs.push((Lab::new(), Lab::new()));
        let (lab, tar_lab) = &labs[labs.len() - 1];
        times[0].push(seconds(|| hash_all(&source)));
        run("sync", &[]);
        let import = || import_dir(&lab.store, &source, &options(), &Progress::default()).unwrap();
        times[1].push(seconds(|| drop(import())));
        times[2].push(seconds(|| drop(import())));
        run("sync", &[]);
        let open = File::open(archive.path()).unwrap();
        let mut manifest = None;
        times[3].push(seconds(|| {
            let imported = import_tar(&tar_lab.store, open, &options(), &Progress::default()).unwrap();
            manifest = Some(imported.manifest);
        }));
        run("sync", &[]);
        times[4].push(seconds(|| drop(tar_lab.export_dir(manifest.unwrap(), "out"))));
    }
    let hashing = median(times[0].clone());
    for (what, times) in ["hash, 2 threads", "import dir", "import again", "import tar", "export dir"].iter().zip(times)
    {
        let time = median(times);
        println!("{what:16} {time:.3} s  {:.2} x", time / hashing);
    }
}
