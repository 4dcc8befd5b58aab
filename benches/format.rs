//! The bytes: hashing content, encoding and decoding a directory, finding an entry in it by name and by number.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that can't go on shall panic")]

use cairnfs::format::{Content, Digest, Entry, Meta, Mode, Name, NameBuf, Node, Tree, encode_tree};
use cairnfs::vfs::{Ino, child_ino};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Sizes of directories: most have few entries, `/usr/bin` a thousand, a cache ten thousands.
const SIZES: [usize; 3] = [10, 1_000, 50_000];

fn entries(count: usize) -> Vec<(NameBuf, Entry)> {
    let meta = Meta { mode: Mode::from_bits(0o644), ..Meta::default() };
    (0..count)
        .map(|n| {
            let name = NameBuf::new(format!("entry-{n:06}.txt").into_bytes()).unwrap();
            let content = Content::File { digest: Digest::of(&n.to_le_bytes()), size: n as u64 };
            (name, Entry::Inode(meta.clone(), Node::Leaf(content)))
        })
        .collect()
}

fn trees(c: &mut Criterion) {
    for size in SIZES {
        let entries = entries(size);
        let bytes = encode_tree(&entries).unwrap().bytes;
        let tree = Tree::decode(bytes.clone()).unwrap();
        let middle = entries[size / 2].0.as_name();

        let mut group = c.benchmark_group("tree");
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("encode", size), |b| b.iter(|| encode_tree(black_box(&entries))));
        group.bench_function(BenchmarkId::new("decode", size), |b| {
            b.iter_batched(|| bytes.clone(), Tree::decode, BatchSize::LargeInput);
        });
        group.bench_function(BenchmarkId::new("list", size), |b| b.iter(|| black_box(&tree).iter().count()));
        group.finish();

        let mut group = c.benchmark_group("find in a tree");
        group.bench_function(BenchmarkId::new("name", size), |b| b.iter(|| tree.find(black_box(middle)).unwrap()));
        group.bench_function(BenchmarkId::new("no such name", size), |b| {
            let absent = Name::new(b"entry-000005.tx").unwrap();
            b.iter(|| assert!(tree.find(black_box(absent)).is_none()));
        });
        group.bench_function(BenchmarkId::new("number to entry", size), |b| {
            b.iter(|| tree.find_offset(black_box(size as u64 / 2)).unwrap());
        });
        group.bench_function(BenchmarkId::new("entry to number", size), |b| {
            b.iter(|| child_ino(&tree, black_box(Ino::ROOT), size / 2));
        });
        group.bench_function(BenchmarkId::new("entry", size), |b| b.iter(|| tree.entry(black_box(size / 2))));
        group.finish();
    }
}

fn hashing(c: &mut Criterion) {
    let mut group = c.benchmark_group("sha256");
    for size in [100, 4 << 10, 1 << 20] {
        let data = vec![7_u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| Digest::of(black_box(&data))));
    }
    group.finish();
}

criterion_group!(benches, trees, hashing);
criterion_main!(benches);
