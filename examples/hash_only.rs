//! Reads and hashes every regular file beneath a directory, and does nothing else: the floor that importing is measured against.
//!
//! `cargo run --release --example hash_only -- DIR [THREADS]`

#![expect(clippy::print_stdout, reason = "a program of its own")]

use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let top = args.next().map(PathBuf::from).ok_or_else(|| io::Error::other("usage: hash_only DIR [THREADS]"))?;
    let threads = args.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(2);
    let mut files = Vec::new();
    collect(&top, &mut files)?;
    let next = AtomicUsize::new(0);
    let totals: io::Result<Vec<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| hash_some(&files, &next))).collect();
        workers.into_iter().map(|worker| worker.join().map_err(|_| io::Error::other("a thread panicked"))?).collect()
    });
    println!("{} files, {} bytes", files.len(), totals?.iter().sum::<u64>());
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Hashes the files that no other thread has taken; returns their bytes.
fn hash_some(files: &[PathBuf], next: &AtomicUsize) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            total += length as u64;
        }
        std::hint::black_box(hash.finalize());
    }
    Ok(total)
}
