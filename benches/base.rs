//! Clean nodes of a manifest with 20,000 files in 400 directories: by number, by name, and the first reading of a directory.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that can't go on shall panic")]

use cairnfs::format::{Digest, Name};
use cairnfs::ingest::{ImportOptions, Progress, import_dir};
use cairnfs::store::Store;
use cairnfs::vfs::{Base, Ino};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::fs;
use std::hint::black_box;
use std::path::Path;

fn imported(folder: &Path) -> (Store, Digest) {
    let source = folder.join("source");
    for n in 0..400 {
        let directory = source.join(format!("{}/{}/{}", n % 4, n / 4 % 10, n / 40));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..50 {
            fs::write(directory.join(file.to_string()), format!("{n} {file}")).unwrap();
        }
    }
    let store = Store::init(&folder.join("store")).unwrap();
    let options = ImportOptions::new("bench".parse().unwrap());
    let digest = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
    (store, digest)
}

fn nodes(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let (store, digest) = imported(folder.path());
    let base = Base::open(&store, digest).unwrap();
    let entries = base.manifest().root.subtree.entries;
    let mut group = c.benchmark_group("base");
    group.bench_function("open a manifest and its root", |b| b.iter(|| Base::open(&store, black_box(digest)).unwrap()));
    let mut ino = 1;
    let mut any = move || {
        ino = (ino + 7919) % entries;
        Ino(ino + 1)
    };
    for n in 0..entries {
        base.inode(Ino(n + 1)).unwrap().unwrap();
    }
    group.bench_function("inode by number, trees in memory", |b| b.iter(|| base.inode(any()).unwrap().unwrap()));
    group.bench_function("inode by number, trees read and decoded", |b| {
        b.iter_batched(
            || Base::open(&store, digest).unwrap(),
            |base| base.inode(any()).unwrap().unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("child of the root by name", |b| {
        b.iter(|| base.child(Ino::ROOT, Name::new(black_box(b"3")).unwrap()).unwrap().unwrap());
    });
    group.finish();
}

criterion_group!(benches, nodes);
criterion_main!(benches);
