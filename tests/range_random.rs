//! Files copied up by range, held to a model: random changes through several handles, with snapshots, daemons that are killed and layers opened anew in
//! between. The filesystem is used without a mount.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

use cairnfs::format::{Digest, Name};
use cairnfs::fsck::{Options, check_layer};
use cairnfs::ingest::{ImportOptions, Progress, import_dir};
use cairnfs::layer::Layer;
use cairnfs::snapshot;
use cairnfs::store::Store;
use cairnfs::vfs::freeze::Source;
use cairnfs::vfs::{Attr, Caller, Copying, Fs, HandleId, Ino, OpenMode, Seek, SetAttr, VfsError};
use nix::fcntl::FallocateFlags;
use proptest::prelude::*;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0 };
const READ: OpenMode = OpenMode { write: false, truncate: false };
const WRITE: OpenMode = OpenMode { write: true, truncate: false };
/// Lengths and offsets stay below this; blocks have 4096 bytes.
const MOST: u64 = 150_000;

struct Bench {
    store: Store,
    base: Digest,
    layer: PathBuf,
    snapshots: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// A base with the files `0` and `1`.
    fn new(files: &[Vec<u8>; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        for (number, content) in files.iter().enumerate() {
            std::fs::write(source.join(number.to_string()), content).unwrap();
        }
        let store = Store::init(&folder.path().join("store")).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        Self { store, base, layer: folder.path().join("layer"), snapshots: 0, _folder: folder }
    }

    fn open(&self) -> Fs {
        let fs = Fs::with_layer(&self.store, self.base, Layer::open(&self.layer).unwrap()).unwrap();
        fs.copy_by(Copying::Range);
        fs
    }

    fn snapshot(&mut self, fs: &Fs, fails: bool) -> Option<Digest> {
        self.snapshots += 1;
        let name = format!("snap{}", self.snapshots).parse().unwrap();
        let request = snapshot::Request { name, labels: Default::default(), created_at: None, parent: None };
        let pin = &mut |_| if fails { Err(VfsError::Busy("a test").into()) } else { Ok(()) };
        snapshot::take(fs, &request, pin).ok().map(|report| report.manifest)
    }
}

fn find(fs: &Fs, file: usize) -> Attr {
    fs.lookup(Ino::ROOT, Name::new(file.to_string().as_bytes()).unwrap()).unwrap().unwrap()
}

fn content(fs: &Fs, file: usize) -> Vec<u8> {
    let attr = find(fs, file);
    let opened = fs.open(attr.ino, READ).unwrap();
    let mut bytes = vec![0xee; attr.size as usize + 10];
    let count = fs.read(opened.handle, 0, &mut bytes).unwrap();
    fs.release(opened.handle);
    assert_eq!(count as u64, attr.size);
    bytes.truncate(count);
    bytes
}

#[derive(Clone, Debug)]
enum Step {
    Write { file: usize, at: u64, length: u64, byte: u8 },
    Read { file: usize, at: u64, length: u64 },
    Truncate { file: usize, length: u64 },
    OpenTruncating { file: usize },
    Allocate { file: usize, at: u64, length: u64, mode: FallocateFlags },
    Copy { from: usize, at: u64, file: usize, to: u64, length: u64 },
    Seek { file: usize, at: u64 },
    Fsync { file: usize },
    Close { file: usize },
    Settle,
    Snapshot { fails: bool, between: Option<Box<Step>> },
    Kill,
    Remount,
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0..2usize;
    // Near the ends of blocks, often.
    let place = || {
        prop_oneof![
            0..MOST,
            (0..MOST / 4096, -2..3i64).prop_map(|(block, off)| (block * 4096).saturating_add_signed(off))
        ]
    };
    let length = || prop_oneof![1..20u64, 1..40_000u64, Just(4096), Just(8192)];
    let modes = prop_oneof![
        Just(FallocateFlags::empty()),
        Just(FallocateFlags::FALLOC_FL_KEEP_SIZE),
        Just(FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE),
        Just(FallocateFlags::FALLOC_FL_ZERO_RANGE),
        Just(FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE),
    ];
    let plain = prop_oneof![
        10 => (file(), place(), length(), 1..255u8)
            .prop_map(|(file, at, length, byte)| Step::Write { file, at, length, byte }),
        4 => (file(), place(), length()).prop_map(|(file, at, length)| Step::Read { file, at, length }),
        5 => (file(), place()).prop_map(|(file, length)| Step::Truncate { file, length }),
        1 => file().prop_map(|file| Step::OpenTruncating { file }),
        4 => (file(), place(), length(), modes)
            .prop_map(|(file, at, length, mode)| Step::Allocate { file, at, length, mode }),
        4 => (file(), place(), file(), place(), length())
            .prop_map(|(from, at, file, to, length)| Step::Copy { from, at, file, to, length }),
        2 => (file(), place()).prop_map(|(file, at)| Step::Seek { file, at }),
        1 => file().prop_map(|file| Step::Fsync { file }),
        2 => file().prop_map(|file| Step::Close { file }),
        1 => Just(Step::Settle),
    ];
    let between = plain.clone().prop_map(Box::new);
    prop_oneof![
        20 => plain,
        1 => (any::<bool>(), proptest::option::of(between))
            .prop_map(|(fails, between)| Step::Snapshot { fails, between }),
        1 => Just(Step::Kill),
        1 => Just(Step::Remount),
    ]
}

/// The files as they must be, and a handle for writing of each that has one.
struct Run {
    bench: Bench,
    fs: Option<Arc<Fs>>,
    model: [Vec<u8>; 2],
    handles: [Option<HandleId>; 2],
}

impl Run {
    fn fs(&self) -> &Fs {
        self.fs.as_ref().unwrap()
    }

    fn handle(&mut self, file: usize) -> HandleId {
        if let Some(handle) = self.handles[file] {
            return handle;
        }
        let opened = self.fs().open(find(self.fs(), file).ino, WRITE).unwrap();
        self.handles[file] = Some(opened.handle);
        opened.handle
    }

    fn grow(&mut self, file: usize, to: u64) {
        let length = self.model[file].len().max(to as usize);
        self.model[file].resize(length, 0);
    }

    fn check(&self, context: &str) {
        for file in 0..2 {
            assert_eq!(find(self.fs(), file).size, self.model[file].len() as u64, "{context}");
            let found = content(self.fs(), file);
            let differs = found.iter().zip(&self.model[file]).position(|(found, right)| found != right);
            assert_eq!(differs, None, "{context}: file {file}");
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { file, at, length, byte } => {
                let handle = self.handle(file);
                assert_eq!(self.fs().write(handle, at, &vec![byte; length as usize]).unwrap() as u64, length);
                self.grow(file, at + length);
                self.model[file][at as usize..(at + length) as usize].fill(byte);
            }
            Step::Read { file, at, length } => {
                let handle = self.handle(file);
                let mut found = vec![0xee; length as usize];
                let count = self.fs().read(handle, at, &mut found).unwrap();
                let all = &self.model[file];
                let right = &all[all.len().min(at as usize)..all.len().min((at + length) as usize)];
                assert!(found[..count] == *right, "at {at}");
            }
            Step::Truncate { file, length } => {
                let change = SetAttr { size: Some(length), ..SetAttr::default() };
                let attr = self.fs().set_attr(ROOT, find(self.fs(), file).ino, &change).unwrap();
                assert_eq!(attr.size, length);
                self.model[file].resize(length as usize, 0);
            }
            Step::OpenTruncating { file } => {
                let mode = OpenMode { write: true, truncate: true };
                let opened = self.fs().open(find(self.fs(), file).ino, mode).unwrap();
                self.fs().release(opened.handle);
                self.model[file].clear();
            }
            Step::Allocate { file, at, length, mode } => {
                let handle = self.handle(file);
                self.fs().fallocate(handle, at, length, mode.bits()).unwrap();
                if !mode.contains(FallocateFlags::FALLOC_FL_KEEP_SIZE) {
                    self.grow(file, at + length);
                }
                if mode.intersects(FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_ZERO_RANGE) {
                    let all = &mut self.model[file];
                    let end = all.len().min((at + length) as usize);
                    all[end.min(at as usize)..end].fill(0);
                }
            }
            Step::Copy { from, at, file, to, length } => self.copy((from, at), (file, to), length),
            Step::Seek { file, at } => self.seek(file, at),
            Step::Fsync { file } => {
                let handle = self.handle(file);
                self.fs().fsync(handle, false).unwrap();
            }
            Step::Close { file } => {
                if let Some(handle) = self.handles[file].take() {
                    self.fs().release(handle);
                }
            }
            Step::Settle => self.fs().sync().unwrap(),
            Step::Snapshot { fails, ref between } => self.snapshot(fails, between.as_deref()),
            Step::Kill => {
                self.handles = [None, None];
                self.fs = None;
                self.fs = Some(Arc::new(self.bench.open()));
            }
            Step::Remount => {
                for handle in std::mem::take(&mut self.handles).into_iter().flatten() {
                    self.fs().release(handle);
                }
                self.fs().close().unwrap();
                self.fs = None;
                self.fs = Some(Arc::new(self.bench.open()));
            }
        }
    }

    /// The kernel refuses overlapping ranges of one file before it asks.
    fn copy(&mut self, from: (usize, u64), to: (usize, u64), length: u64) {
        if from.0 == to.0 && from.1 < to.1 + length && to.1 < from.1 + length {
            return;
        }
        let (source, target) = (self.handle(from.0), self.handle(to.0));
        let count = self.fs().copy_range((source, from.1), (target, to.1), length).unwrap();
        let all = &self.model[from.0];
        let bytes = all[all.len().min(from.1 as usize)..all.len().min((from.1 + length) as usize)].to_vec();
        assert_eq!(count, bytes.len() as u64);
        if count > 0 {
            self.grow(to.0, to.1 + count);
            self.model[to.0][to.1 as usize..(to.1 + count) as usize].copy_from_slice(&bytes);
        }
    }

    /// Holes are the host's to place; but what is told as one must be zeros, and what is told as data ends in none.
    fn seek(&mut self, file: usize, at: u64) {
        let handle = self.handle(file);
        let all = &self.model[file];
        match self.fs().seek(handle, at, Seek::Data) {
            Ok(data) => {
                assert!(data >= at && data < all.len() as u64);
                assert!(all[at as usize..data as usize].iter().all(|&byte| byte == 0));
            }
            Err(VfsError::NoData) => assert!(all.iter().skip(at as usize).all(|&byte| byte == 0)),
            Err(error) => panic!("{error}"),
        }
        match self.fs().seek(handle, at, Seek::Hole) {
            Ok(hole) => assert!(hole >= at && hole <= all.len() as u64),
            Err(VfsError::NoData) => assert!(at >= all.len() as u64),
            Err(error) => panic!("{error}"),
        }
    }

    fn snapshot(&mut self, fails: bool, between: Option<&Step>) {
        let fs = Arc::clone(self.fs.as_ref().unwrap());
        if let Some(step) = between {
            let then = self.model.clone();
            let frozen = fs.freeze().unwrap();
            let inos: Vec<Ino> = (0..2).map(|file| find(&fs, file).ino).collect();
            self.step(step);
            for (id, source) in &frozen.content {
                let file = inos.iter().position(|ino| *ino == id.ino).unwrap();
                if let Source::Partial(parts) = source {
                    let mut bytes = Vec::new();
                    parts.reader().read_to_end(&mut bytes).unwrap();
                    assert!(bytes == then[file], "what a snapshot reads changed");
                }
            }
            self.check("while a snapshot is taken");
        }
        let then = self.model.clone();
        if let Some(manifest) = self.bench.snapshot(&fs, fails) {
            let taken = Fs::read_only(&self.bench.store, manifest).unwrap();
            for (file, right) in then.iter().enumerate() {
                assert!(content(&taken, file) == *right, "the snapshot has other content");
            }
        }
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // With holes, and bytes that tell where they are from.
    (0..100_000usize, 0..100_000usize, 0..20_000usize).prop_map(|(length, hole, long)| {
        let byte = |at: usize| if at >= hole && at < hole + long { 0 } else { (at / 7 % 250 + 1) as u8 };
        (0..length).map(byte).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn partial_files_do_what_the_model_does(
        files in [bytes(), bytes()], steps in proptest::collection::vec(step(), 1..60),
    ) {
        let bench = Bench::new(&files);
        let fs = Some(Arc::new(bench.open()));
        let mut run = Run { bench, fs, model: files, handles: [None, None] };
        for (number, step) in steps.iter().enumerate() {
            run.step(step);
            if number % 4 == 0 || number + 1 == steps.len() {
                run.check(&format!("after step {number}, {step:?}"));
            }
        }
        run.step(&Step::Remount);
        run.check("mounted again");
        run.handles = [None, None];
        run.fs().close().unwrap();
        run.fs = None;
        let report = check_layer(&run.bench.store, run.bench.base, &run.bench.layer, Options::default()).unwrap();
        prop_assert!(report.is_sound(), "{:?}", report.problems);
    }
}

fn cases() -> u32 {
    std::env::var("CAIRNFS_TEST_SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}
