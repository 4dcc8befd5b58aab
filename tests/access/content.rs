//! Content: mappings, holes, reserved room, copies.

use crate::common::map::Map;
use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::places::{everywhere, said};
use crate::process::Process;
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek, sendfile};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const LARGE: usize = 2 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

fn both() -> Spec {
    Spec::new().file("small", pattern(16384)).file("large", pattern(LARGE))
}

fn read_write(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn shared_mappings_of_two_processes_and_writes_agree() {
    everywhere(&both(), |dir| {
        for name in ["small", "large"] {
            let mut other = Process::start(dir);
            other.run("import mmap");
            other.run(&format!("f = os.open('{name}', os.O_RDWR)"));
            other.run("m = mmap.mmap(f, 0)");
            let file = read_write(&dir.join(name));
            let map = Map::read_write(&file);
            map.set(5, b'A');
            assert_eq!(other.run("m[5]"), "65");
            assert_eq!(other.run("os.pread(f, 1, 5)"), "b'A'");
            other.run("m[9000] = 66");
            assert_eq!(map.get(9000), b'B');
            file.write_all_at(b"C", 10).unwrap();
            assert_eq!((map.get(10), other.run("m[10]").as_str()), (b'C', "67"));
            other.run("os.pwrite(f, b'D', 11)");
            assert_eq!((map.get(11), other.run("m[11]").as_str()), (b'D', "68"));
            // A reader that maps later, and one that doesn't map.
            let reader = File::open(dir.join(name)).unwrap();
            assert_eq!(Map::read(&reader).get(9000), b'B');
            drop((map, file, other));
            let content = fs::read(dir.join(name)).unwrap();
            assert_eq!((content[5], content[9000], content[10], content[11]), (b'A', b'B', b'C', b'D'));
        }
    });
}

#[test]
fn private_mappings_keep_their_changes() {
    everywhere(&both(), |dir| {
        for name in ["small", "large"] {
            let path = dir.join(name);
            let reader = File::open(&path).unwrap();
            let map = Map::private(&reader);
            map.set(0, b'P');
            assert_eq!(map.get(0), b'P');
            assert_eq!(fs::read(&path).unwrap()[0], 0);
            // Another process has its own.
            let mut other = Process::start(dir);
            other.run(&format!("import mmap; f = os.open('{name}', os.O_RDONLY)"));
            other.run("m = mmap.mmap(f, 0, mmap.MAP_PRIVATE, mmap.PROT_READ|mmap.PROT_WRITE)");
            assert_eq!(other.run("m[0]"), "0");
            other.run("m[1] = 81");
            assert_eq!((other.run("m[1]").as_str(), map.get(1)), ("81", 0));
            // Shared and writable takes a descriptor that may write.
            assert_eq!(other.run("attempt(mmap.mmap, f, 0)"), "EACCES");
        }
        fs::metadata(dir.join("small")).unwrap().len()
    });
}

#[test]
fn a_mapping_sees_truncation_and_growth() {
    everywhere(&both(), |dir| {
        let mut all = Vec::new();
        for name in ["small", "large"] {
            let file = read_write(&dir.join(name));
            let map = Map::read_write(&file);
            file.set_len(5000).unwrap();
            all.push((map.get(4999), map.get(5001)));
            file.set_len(12288).unwrap();
            all.push((map.get(4999), map.get(12287)));
            map.set(12000, 9);
            let content = fs::read(dir.join(name)).unwrap();
            all.push((content[12000], content[5001]));
        }
        all
    });
}

#[test]
fn holes_are_found_made_and_kept() {
    let mut sparse = vec![0; 1 << 20];
    sparse[500_000..500_010].fill(1);
    everywhere(&Spec::new().file("dense", pattern(300_000)).file("zeros", sparse), |dir| {
        let mut all = Vec::new();
        let file = read_write(&dir.join("dense"));
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        all.push(said(fallocate(&file, flags, 65536, 65536)));
        for at in [0, 65536, 100_000, 131_072, 299_999, 300_000, 400_000] {
            all.push(said(seek(&file, SeekFrom::Data(at))));
            all.push(said(seek(&file, SeekFrom::Hole(at))));
        }
        let mut middle = [1; 10];
        file.read_exact_at(&mut middle, 70_000).unwrap();
        all.push(format!("{middle:?} {}", file.metadata().unwrap().len()));
        let sparse = File::create(dir.join("sparse")).unwrap();
        sparse.write_all_at(b"end", 1 << 20).unwrap();
        all.push(said(seek(&sparse, SeekFrom::Data(0))));
        all.push(said(seek(&sparse, SeekFrom::Hole(0))));
        all.push(said(seek(&sparse, SeekFrom::Hole(1 << 20))));
        all.push(format!("{}", sparse.metadata().unwrap().blocks() < 100));
        sparse.set_len(4 << 20).unwrap();
        all.push(said(seek(&sparse, SeekFrom::Data(2 << 20))));
        all.push(said(seek(File::open(dir).unwrap(), SeekFrom::Data(0)).map(drop)));
        assert_eq!(fs::read(dir.join("zeros")).unwrap()[500_000], 1);
        all
    });
}

#[test]
fn room_is_reserved_punched_and_zeroed() {
    everywhere(&both(), |dir| {
        let mut all = Vec::new();
        let keep = FallocateFlags::KEEP_SIZE;
        let modes = [
            (FallocateFlags::empty(), 0, 8192),
            (FallocateFlags::empty(), LARGE as u64, 4096),
            (keep, 4 << 20, 65536),
            (FallocateFlags::PUNCH_HOLE | keep, 4096, 4096),
            (FallocateFlags::PUNCH_HOLE, 4096, 4096),
            (FallocateFlags::PUNCH_HOLE | keep, 5 << 20, 4096),
            (FallocateFlags::ZERO_RANGE, 8192, 1000),
            (FallocateFlags::ZERO_RANGE | keep, 4 << 20, 1000),
            (FallocateFlags::UNSHARE_RANGE, 0, 4096),
            (FallocateFlags::from_bits_retain(0x400), 0, 4096),
            (FallocateFlags::empty(), 0, 0),
            (FallocateFlags::empty(), 1 << 62, 1 << 62),
        ];
        for name in ["small", "large"] {
            let file = read_write(&dir.join(name));
            for (mode, offset, length) in modes {
                let outcome = said(fallocate(&file, mode, offset, length));
                let content = fs::read(dir.join(name)).unwrap();
                let sum = content.iter().enumerate().fold(0u64, |sum, (at, byte)| {
                    sum.wrapping_mul(31).wrapping_add(u64::from(*byte)).wrapping_add(at as u64)
                });
                all.push(format!("{name} {mode:?} {offset} {length}: {outcome}, {} {sum}", content.len()));
            }
            all.push(said(fallocate(File::open(dir.join(name)).unwrap(), FallocateFlags::empty(), 0, 10)));
        }
        all
    });
}

#[test]
fn content_is_sent_spliced_and_copied() {
    everywhere(&both(), |dir| {
        let mut all = Vec::new();
        // Another filesystem, so that the boundary is there on the host too.
        let elsewhere = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        for name in ["small", "large"] {
            let source = File::open(dir.join(name)).unwrap();
            let whole = fs::read(dir.join(name)).unwrap();
            // sendfile to a file of the same mount, and across the boundary.
            let sent = File::create(dir.join("sent")).unwrap();
            all.push(said(sendfile(&sent, &source, Some(&mut 100), 5000)));
            assert_eq!(fs::read(dir.join("sent")).unwrap(), whole[100..5100]);
            let out = File::create(elsewhere.path()).unwrap();
            all.push(said(sendfile(&out, &source, Some(&mut 0), 5000)));
            assert_eq!(fs::read(elsewhere.path()).unwrap(), whole[..5000]);
            // splice, both ways.
            let (from, to) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            all.push(said(splice(&source, Some(&mut 300), &to, None, 4096, SpliceFlags::empty())));
            let target = File::create(dir.join("spliced")).unwrap();
            all.push(said(splice(&from, None, &target, None, 4096, SpliceFlags::empty())));
            assert_eq!(fs::read(dir.join("spliced")).unwrap(), whole[300..4396]);
            // copy_file_range: clean to new, into itself, out of the mount and into it.
            let copy = read_write(&dir.join("sent"));
            all.push(said(copy_file_range(&source, Some(&mut 1000), &copy, Some(&mut 0), 3000)));
            assert_eq!(fs::read(dir.join("sent")).unwrap()[..3000], whole[1000..4000]);
            all.push(said(copy_file_range(&source, Some(&mut (whole.len() as u64)), &copy, Some(&mut 0), 3000)));
            let itself = read_write(&dir.join(name));
            all.push(said(copy_file_range(&itself, Some(&mut 0), &itself, Some(&mut 8192), 4096)));
            all.push(said(copy_file_range(&itself, Some(&mut 0), &itself, Some(&mut 100), 4096)));
            assert_eq!(fs::read(dir.join(name)).unwrap()[8192..12288], whole[..4096]);
            all.push(said(copy_file_range(&itself, Some(&mut 0), &out, Some(&mut 0), 1000)));
            let from = File::open(elsewhere.path()).unwrap();
            all.push(said(copy_file_range(&from, Some(&mut 0), &itself, Some(&mut 50), 10)));
            all.push(said(copy_file_range(&from, Some(&mut 0), &source, Some(&mut 50), 10)));
            assert_eq!(
                std::io::copy(&mut File::open(dir.join(name)).unwrap(), &mut File::create(dir.join("whole")).unwrap())
                    .unwrap(),
                whole.len() as u64
            );
        }
        all
    });
}

#[test]
fn the_kernel_copies_between_two_mounts() {
    let (one, two) = (TestMount::writable(&both()), TestMount::writable(&both()));
    for name in ["small", "large"] {
        let source = File::open(one.at(name)).unwrap();
        let target = read_write(&two.at(name));
        let copied = copy_file_range(&source, Some(&mut 5), &target, Some(&mut 0), 8000).unwrap();
        assert_eq!(fs::read(two.at(name)).unwrap()[..copied], fs::read(one.at(name)).unwrap()[5..5 + copied]);
        assert!(copied > 0);
    }
    one.stop();
    two.stop();
}

#[test]
fn sizes_at_the_edge_are_as_elsewhere() {
    everywhere(&both(), |dir| {
        let file = read_write(&dir.join("small"));
        let mut room = [0; 10];
        let mut all = vec![
            said(file.read_at(&mut room, 1 << 40)),
            said(file.read_at(&mut room, i64::MAX as u64 - 5)),
            said(file.write_at(b"", 1 << 40)),
            said(rustix::io::pwrite(&file, b"x", u64::MAX)),
            said(rustix::fs::ftruncate(&file, u64::MAX)),
            said(rustix::fs::ftruncate(&file, 1 << 40)),
            said(file.metadata().map(|metadata| metadata.len())),
            said(file.write_at(b"x", (1 << 40) - 1)),
            said(rustix::fs::ftruncate(&file, 0)),
            said(file.metadata().map(|metadata| (metadata.len(), metadata.blocks()))),
        ];
        let reader = File::open(dir.join("small")).unwrap();
        all.push(said(rustix::fs::ftruncate(&reader, 0)));
        all.push(said(reader.write_at(b"x", 0)));
        all.push(said(File::create(dir.join("w")).unwrap().read_at(&mut room, 0)));
        all
    });
}
