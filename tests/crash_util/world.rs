//! A store, the program that serves it, and crashes.

use super::model::{Bytes, Entry, Id, Model, State};
use super::worker::{Progress, Worker, look};
use super::{Random, wait_until};
use cairnfs::ingest::{ImportOptions, Progress as ImportProgress, import_dir};
use cairnfs::layer::{DataId, Layer};
use cairnfs::store::Store;
use nix::mount::{MntFlags, umount2};
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const BASE: &str = "base";
const LAYER: &str = "crash";
pub const SNAPSHOT: &str = "snap";

/// How a round ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Kill,
    Cut { flush_log: bool },
}

/// What came of all rounds.
#[derive(Default, Debug)]
pub struct Tally {
    pub steps: u64,
    pub syncs: u64,
    pub snapshots: u64,
    pub orphans: u64,
    pub strays: u64,
    pub reverted: u64,
    pub emptied: u64,
    pub journals_cut: u64,
    /// Files renamed over others without fsync that were there after a cut, and of them those not whole.
    pub hasty: u64,
    pub hasty_torn: u64,
    pub slowest_mount: Duration,
}

/// A store, and what its layer must hold.
pub struct World {
    pub folder: PathBuf,
    pub store: PathBuf,
    pub models: Vec<Model>,
    pub tally: Tally,
    pub random: Random,
    /// How content is copied up.
    pub copy: &'static str,
    served: Option<Served>,
}

/// The program, and where it has mounted.
struct Served {
    child: Child,
    log: PathBuf,
}

impl World {
    /// A store at `store`, with a base that has a directory for each worker, and room beside it in `folder`.
    pub fn new(folder: &Path, store: &Path, workers: usize, large: usize, mut random: Random) -> Self {
        let source = folder.join("source");
        for worker in 0..workers {
            let dir = source.join(format!("w{worker}"));
            fs::create_dir_all(dir.join("sub/deep")).unwrap();
            for (number, at) in ["", "sub/", "sub/deep/", ""].into_iter().cycle().take(10).enumerate() {
                let length = random.index(50_000) + 1;
                fs::write(dir.join(format!("{at}base{number}")), random.bytes(length)).unwrap();
            }
            fs::write(dir.join("large"), random.bytes(large)).unwrap();
            fs::hard_link(dir.join("base0"), dir.join("sub/linked")).unwrap();
        }
        let opened = Store::init(store).unwrap();
        let options = ImportOptions::new(BASE.parse().unwrap());
        import_dir(&opened, &source, &options, &ImportProgress::default()).unwrap();
        fs::create_dir(folder.join("mnt")).unwrap();
        let found = |worker| {
            let seen = look(&source.join(format!("w{worker}")));
            let bytes = seen.files.into_iter().map(|(id, file)| (id, Bytes::new(file.content))).collect();
            Model::found(seen.state, bytes)
        };
        let models = (0..workers).map(found).collect();
        fs::remove_dir_all(source.clone()).unwrap();
        let (folder, store) = (folder.to_owned(), store.to_owned());
        Self { folder, store, models, tally: Tally::default(), random, copy: "copy=auto", served: None }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.join("mnt")
    }

    pub fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairnfs"));
        command.env_remove("CAIRNFS_LOG").arg("--store").arg(&self.store).stdin(Stdio::null());
        command
    }

    /// Starts the program, and doesn't wait for it.
    pub fn start(&mut self) {
        let log = self.folder.join("log");
        let mut command = self.program();
        command.arg("mount").arg(BASE).arg(self.root()).args(["-f", "--layer", LAYER, "-o", self.copy]);
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        self.served = Some(Served { child, log });
    }

    /// Mounts, and waits until the mount answers.
    pub fn mount(&mut self) {
        let (root, began) = (self.root(), Instant::now());
        let below = fs::metadata(&self.folder).unwrap().dev();
        self.start();
        let served = self.served.as_mut().expect("just started");
        wait_until("the layer is mounted", || {
            if let Some(status) = served.child.try_wait().unwrap() {
                panic!(
                    "the program ended with {status} instead of mounting: {}",
                    fs::read_to_string(&served.log).unwrap()
                );
            }
            fs::metadata(&root).is_ok_and(|metadata| metadata.dev() != below)
        });
        self.tally.slowest_mount = self.tally.slowest_mount.max(began.elapsed());
        self.count_recovered();
    }

    /// Adds up what the program said that it recovered.
    fn count_recovered(&mut self) {
        let log = self.served.as_ref().map(|served| fs::read_to_string(&served.log).unwrap()).unwrap_or_default();
        let told = |what: &str| -> u64 {
            let Some((_, rest)) = log.split_once(&format!("{what}: ")) else { return 0 };
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        self.tally.orphans += told("orphans");
        self.tally.strays += told("stray_files");
        self.tally.reverted += told("reverted");
        self.tally.emptied += told("emptied");
        self.tally.journals_cut += u64::from(told("journal_cut") > 0);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Kills the program and takes the dead mount away.
    pub fn kill(&mut self) {
        if let Some(mut served) = self.served.take() {
            served.child.kill().unwrap();
            served.child.wait().unwrap();
        }
        while umount2(&self.root(), MntFlags::MNT_DETACH).is_ok() {}
    }

    /// Unmounts in good order.
    pub fn unmount(&mut self) {
        assert!(self.program().arg("umount").arg("-q").arg(self.root()).status().unwrap().success());
        let mut served = self.served.take().expect("it is mounted");
        wait_until("the program has ended", || served.child.try_wait().unwrap().is_some());
    }

    /// Workers work until `steps` are done; then `end` ends it, and the program is killed if that didn't.
    pub fn work(&mut self, steps: u64, snapshots: bool, mut end: impl FnMut(&mut Self)) -> Progress {
        let progress = Progress::new(self.models.len());
        let root = self.root();
        let models: Vec<Model> = std::mem::take(&mut self.models);
        let seeds: Vec<Random> = models.iter().map(|_| Random(self.random.next())).collect();
        let mut take = self.program();
        take.arg("snapshot").arg(&root).arg(SNAPSHOT).stdout(Stdio::null()).stderr(Stdio::null());
        let (models, taken) = std::thread::scope(|scope| {
            let workers = models.into_iter().zip(seeds).enumerate().map(|(number, (model, random))| {
                let (root, progress) = (root.clone(), &progress);
                scope.spawn(move || {
                    let mut worker = Worker { number, root, random, model, progress, held: Vec::new(), end: None };
                    worker.run();
                    (worker.model, worker.end)
                })
            });
            let workers: Vec<_> = workers.collect();
            let progress = &progress;
            let taker = snapshots.then(|| {
                scope.spawn(move || {
                    let mut taken = 0;
                    while !progress.stop.load(SeqCst) && take.status().unwrap().success() {
                        taken += 1;
                    }
                    taken
                })
            });
            wait_until("the work is done", || {
                progress.steps.load(SeqCst) >= steps || workers.iter().any(|worker| worker.is_finished())
            });
            let failed = workers.iter().any(|worker| worker.is_finished());
            progress.crashing.store(true, SeqCst);
            end(self);
            progress.stop.store(true, SeqCst);
            self.kill();
            let taken = taker.map_or(0, |taker| taker.join().unwrap());
            let ended: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
            let why: Vec<_> = ended.iter().map(|(_, end)| end).collect();
            assert!(!failed, "a worker failed before the crash: {why:?}; {}", self.log());
            (ended.into_iter().map(|(model, _)| model).collect::<Vec<_>>(), taken)
        });
        self.models = models;
        self.tally.snapshots += taken;
        self.tally.steps += progress.steps.load(SeqCst);
        self.tally.syncs += progress.syncs.load(SeqCst);
        progress
    }

    /// What is mounted must be what the models allow; they go on from there.
    pub fn judge(&mut self, end: End, progress: &Progress, context: &str) {
        let models: Vec<Model> = std::mem::take(&mut self.models);
        for (number, model) in models.into_iter().enumerate() {
            let seen = look(&self.root().join(format!("w{number}")));
            let from = match end {
                End::Kill => model.acknowledged,
                End::Cut { .. } => progress.floor[number].load(SeqCst),
            };
            let context = format!("{context}, worker {number}");
            let candidates = model.states[from - 1..].iter().rev();
            let Some((state, ids)) =
                candidates.filter_map(|state| Some((state, same(state, &seen.state, &model.numbers)?))).next()
            else {
                self.explain(&context, &model, from, &seen.state);
            };
            let mut bytes = HashMap::new();
            for (&id, &ino) in &ids {
                let (file, mut known) = (&seen.files[&ino], model.bytes[&id].clone());
                let name = state.iter().find(|(_, entry)| entry.file == Some(id)).map(|(path, _)| path);
                let rejected = match end {
                    End::Kill => known.reject_now(&file.content),
                    End::Cut { .. } => known.reject(&file.content),
                };
                if let Some(why) = rejected {
                    panic!("{context}: {name:?}: {why}; {}", self.log());
                }
                if let Some(mtime) = known.mtime.filter(|_| known.versions.len() == 1) {
                    assert_eq!(file.mtime, mtime, "{context}: mtime of {name:?}; {}", self.log());
                }
                if known.hasty && end != End::Kill {
                    self.tally.hasty += 1;
                    self.tally.hasty_torn += u64::from(known.versions[1..].iter().all(|whole| **whole != file.content));
                }
                known.under_way = false;
                if end != End::Kill {
                    known = known.cut_to(file.content.clone());
                } else if **known.now() != file.content {
                    known.versions.push(file.content.clone().into());
                }
                bytes.insert(id, known);
            }
            let mut found = Model::found((**state).clone(), bytes);
            (found.next, found.numbers) = (model.next, ids);
            self.models.push(found);
        }
    }

    /// Fails with how each state that would do differs from what is there, and with the nearest of all.
    fn explain(&self, context: &str, model: &Model, from: usize, seen: &State) -> ! {
        let differences = |state: &State| {
            let paths: BTreeSet<&String> = state.keys().chain(seen.keys()).collect();
            let inode = |entry: &Entry| entry.file.map(|id| model.numbers.get(&id).copied().unwrap_or_default());
            let brief = |file: Option<u64>, entry: &Entry| {
                format!("{file:x?} {:o} {:?}", entry.mode, entry.xattr.as_ref().map(|value| (value.len(), value[0])))
            };
            let all = paths.into_iter().map(|path| {
                let expected = state.get(path).map_or("nothing".to_owned(), |entry| brief(inode(entry), entry));
                let found = seen.get(path).map_or("nothing".to_owned(), |entry| brief(entry.file, entry));
                (path, expected, found)
            });
            let differ = all.filter(|(_, expected, found)| expected != found);
            differ.map(|(path, expected, found)| format!("{path}: {expected} is {found}")).collect::<Vec<_>>()
        };
        for (at, state) in model.states.iter().enumerate() {
            let differ = differences(state);
            if at + 1 >= from || differ.len() < 2 {
                println!("step {}: {differ:#?}", at + 1);
            }
        }
        panic!(
            "{context}: the tree is as after none of the steps {from} to {} ({} acknowledged); {}",
            model.states.len(),
            model.acknowledged,
            self.log()
        );
    }

    /// The layer's records and data files, when nobody has it mounted: each file that is named is there, and no other.
    pub fn check_layer(&self) {
        let store = Store::open(&self.store).unwrap();
        let path = store.layer_dir(&LAYER.parse().unwrap());
        let layer = Layer::open(&path).unwrap();
        assert_eq!(*layer.recovered(), Default::default(), "it was closed");
        let mut named = BTreeSet::new();
        let each = layer.db().each_inode(|ino, record| {
            assert!(record.nlink > 0 || ino.is_linked_range(), "an orphan is left: {}", ino.0);
            named.extend(record.data_generation().map(|generation| layer.data().file_path(DataId { ino, generation })));
        });
        each.unwrap();
        let shards = fs::read_dir(path.join("data")).unwrap().map(|shard| shard.unwrap().path());
        let there: BTreeSet<PathBuf> =
            shards.flat_map(|shard| fs::read_dir(shard).unwrap().map(|file| file.unwrap().path())).collect();
        assert_eq!(named, there);
        layer.close().unwrap();
    }
}

/// Whether two trees are the same: what is the inode number of each file. Those in `known` must be what they were.
fn same(state: &State, seen: &State, known: &HashMap<Id, u64>) -> Option<HashMap<Id, Id>> {
    if state.len() != seen.len() {
        return None;
    }
    let (mut there, mut back) = (HashMap::new(), HashMap::new());
    for ((path, entry), (other_path, other)) in state.iter().zip(seen) {
        if path != other_path || (entry.mode, &entry.xattr) != (other.mode, &other.xattr) {
            return None;
        }
        match (entry.file, other.file) {
            (None, None) => {}
            (Some(id), Some(ino)) if known.get(&id).is_some_and(|known| *known != ino) => return None,
            (Some(id), Some(ino)) if *there.entry(id).or_insert(ino) == ino && *back.entry(ino).or_insert(id) == id => {
            }
            _ => return None,
        }
    }
    Some(there)
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut served) = self.served.take() {
            let _killed = served.child.kill();
            let _reaped = served.child.wait();
        }
        while umount2(&self.root(), MntFlags::MNT_DETACH).is_ok() {}
    }
}
