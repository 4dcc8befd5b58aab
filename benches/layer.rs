//! A layer's database: the batches that operations are, and reading records back.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that can't go on shall panic")]

use cairnfs::format::{Kind, Meta, Mode, Name, Timestamp};
use cairnfs::layer::{Body, Child, Db, FileContent, InodeRecord, NameRecord};
use cairnfs::vfs::Ino;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const PARENT: Ino = Ino(1 << 41);

fn record(kind: Kind) -> InodeRecord {
    let now = Timestamp::now();
    let body = match kind {
        Kind::Dir => Body::Dir { parent: Ino::ROOT, subdirs: 0 },
        _ => Body::File { generation: 0, content: FileContent::Data { origin: None } },
    };
    InodeRecord {
        meta: Meta { mode: Mode::from_bits(0o644), mtime: now, ..Meta::default() },
        nlink: 1,
        atime: now,
        ctime: now,
        body,
    }
}

/// What `creat(2)` commits: the inode, its name, the directory's times.
fn create(db: &Db, n: u64, file: &InodeRecord, directory: &InodeRecord) {
    let ino = Ino(PARENT.0 + 1 + n);
    let mut batch = db.batch();
    batch.put_inode(ino, file);
    batch.put_name(
        PARENT,
        format!("file-{n}").as_bytes(),
        NameRecord::Child(Child { ino, kind: Kind::File, sequence: n }),
    );
    batch.put_inode(PARENT, directory);
    batch.commit().unwrap();
}

fn batches(c: &mut Criterion) {
    let (file, directory) = (record(Kind::File), record(Kind::Dir));
    let mut group = c.benchmark_group("layer");
    group.throughput(Throughput::Elements(1));
    group.sample_size(50);
    group.bench_function("encode a record", |b| b.iter(|| black_box(&file).encode()));
    let bytes = file.encode();
    group.bench_function("decode a record", |b| b.iter(|| InodeRecord::decode(black_box(&bytes)).unwrap()));

    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(folder.path()).unwrap();
    let mut next = 0;
    group.bench_function("commit of three records: create", |b| {
        b.iter(|| {
            create(&db, next, &file, &directory);
            next += 1;
        });
    });
    group.bench_function("commit of one record: chmod", |b| {
        b.iter(|| {
            let mut batch = db.batch();
            batch.put_inode(PARENT, &directory);
            batch.commit().unwrap();
        });
    });
    for n in next..10_000 {
        create(&db, n, &file, &directory);
    }
    let mut n = 0;
    group.bench_function("read an inode", |b| {
        b.iter(|| {
            n = (n + 7919) % 10_000;
            db.inode(Ino(PARENT.0 + 1 + n)).unwrap().unwrap()
        });
    });
    group.bench_function("read a name", |b| {
        b.iter(|| db.name(PARENT, Name::new(b"file-5000").unwrap()).unwrap().unwrap());
    });
    group.bench_function("read a name that isn't there", |b| {
        b.iter(|| assert!(db.name(PARENT, Name::new(b"file-x").unwrap()).unwrap().is_none()));
    });
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
