//! What all threads do to the same files. Nobody knows who comes first, but each of these holds whoever does.

use super::random::Random;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Files in a directory that never change, while others come and go beside them.
pub const STABLE: usize = 200;
const RECORD: usize = 4096;
const SLOTS: usize = 64;
/// Threads that compete for one name.
const RIVALS: u64 = 4;

/// What the threads found out together.
#[derive(Default)]
pub struct Shared {
    increments: AtomicU64,
    rounds: AtomicU64,
    winners: Mutex<BTreeMap<String, u32>>,
}

/// What one thread alone knows.
pub struct Part<'a> {
    shared: &'a Shared,
    root: PathBuf,
    thread: usize,
    random: Random,
    /// Links of the common inode that this thread made.
    links: Vec<String>,
    /// The last record that this thread wrote into each slot of its own.
    records: BTreeMap<usize, Vec<u8>>,
    made: u64,
}

/// What the base has of it.
pub fn base() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("shared/counter".to_owned(), vec![0; 8]),
        ("shared/records".to_owned(), vec![0; RECORD * SLOTS]),
        ("shared/own".to_owned(), vec![0; RECORD * SLOTS]),
        ("shared/links/first".to_owned(), b"linked".to_vec()),
    ];
    all.extend((0..STABLE).map(|number| (format!("shared/stable/s{number}"), b"s".to_vec())));
    all
}

fn record(thread: usize, number: u64) -> Vec<u8> {
    let word = [(thread as u64 + 1).to_le_bytes(), number.to_le_bytes()].concat();
    word.iter().copied().cycle().take(RECORD).collect()
}

impl Shared {
    pub fn part(&self, root: &Path, thread: usize, seed: u64) -> Part<'_> {
        let root = root.join("shared");
        let random = Random(seed);
        Part { shared: self, root, thread, random, links: Vec::new(), records: BTreeMap::new(), made: 0 }
    }
}

impl Part<'_> {
    pub fn step(&mut self, begins: &dyn Fn(&'static str)) {
        match self.random.index(8) {
            0 => (begins("counter under flock"), self.count()).1,
            1 => (begins("record"), self.write_record()).1,
            2 => (begins("own record"), self.write_own()).1,
            3 => (begins("race to make"), self.race()).1,
            4 => (begins("shared link"), self.link()).1,
            5 => (begins("shared readdir"), self.list()).1,
            6 => (begins("shared coming and going"), self.come_and_go()).1,
            _ => (begins("shared look"), self.look()).1,
        }
    }

    fn count(&mut self) {
        let file = OpenOptions::new().read(true).write(true).open(self.root.join("counter")).unwrap();
        let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 0).unwrap();
        file.write_all_at(&(u64::from_le_bytes(bytes) + 1).to_le_bytes(), 0).unwrap();
        self.shared.increments.fetch_add(1, Ordering::SeqCst);
    }

    fn write_record(&mut self) {
        self.made += 1;
        let slot = self.random.index(SLOTS);
        let file = OpenOptions::new().write(true).open(self.root.join("records")).unwrap();
        file.write_all_at(&record(self.thread, self.made), (slot * RECORD) as u64).unwrap();
    }

    /// A slot that this thread alone writes, in a file that all write: no other's copy-up, snapshot or write takes it back.
    fn write_own(&mut self) {
        self.made += 1;
        let slot = self.thread + 16 * self.random.index(SLOTS / 16);
        let file = OpenOptions::new().read(true).write(true).open(self.root.join("own")).unwrap();
        if let Some(before) = self.records.get(&slot) {
            let mut found = vec![0; RECORD];
            file.read_exact_at(&mut found, (slot * RECORD) as u64).unwrap();
            assert!(&found == before, "slot {slot} of thread {} was taken back", self.thread);
        }
        let bytes = record(self.thread, self.made);
        file.write_all_at(&bytes, (slot * RECORD) as u64).unwrap();
        self.records.insert(slot, bytes);
    }

    /// Several threads want the same name, by mkdir, O_EXCL or RENAME_NOREPLACE: one gets it.
    fn race(&mut self) {
        let round = self.shared.rounds.fetch_add(1, Ordering::SeqCst) / RIVALS;
        let name = format!("race{round}");
        let at = self.root.join("races").join(&name);
        let done = match (round + self.thread as u64) % 3 {
            0 => fs::create_dir(&at),
            1 => OpenOptions::new().write(true).create_new(true).open(&at).map(drop),
            _ => {
                let own = self.root.join("races").join(format!("own{}", self.thread));
                fs::write(&own, b"mine").unwrap();
                let done = renameat2(AT_FDCWD, &own, AT_FDCWD, &at, RenameFlags::RENAME_NOREPLACE);
                if done.is_err() {
                    fs::remove_file(&own).unwrap();
                }
                done.map_err(io::Error::from)
            }
        };
        let won = match done {
            Ok(()) => 1,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(Errno::EEXIST as i32), "{name}: {error}");
                0
            }
        };
        *self.shared.winners.lock().unwrap().entry(name).or_default() += won;
    }

    fn link(&mut self) {
        if self.links.len() > 4 || (!self.links.is_empty() && self.random.index(2) == 0) {
            let name = self.links.swap_remove(self.random.index(self.links.len()));
            fs::remove_file(self.root.join("links").join(name)).unwrap();
        } else {
            self.made += 1;
            let name = format!("l{}-{}", self.thread, self.made);
            fs::hard_link(self.root.join("links/first"), self.root.join("links").join(&name)).unwrap();
            self.links.push(name);
        }
    }

    /// Entries that never change are listed exactly once, whatever comes and goes.
    fn list(&mut self) {
        let mut seen = BTreeMap::new();
        for entry in fs::read_dir(self.root.join("stable")).unwrap() {
            *seen.entry(entry.unwrap().file_name().into_string().unwrap()).or_insert(0) += 1;
        }
        for number in 0..STABLE {
            assert_eq!(seen.get(&format!("s{number}")), Some(&1), "s{number} in a listing");
        }
    }

    fn come_and_go(&mut self) {
        self.made += 1;
        let (a, b) = (format!("t{}a", self.thread), format!("t{}b", self.thread));
        let (a, b) = (self.root.join("stable").join(a), self.root.join("stable").join(b));
        fs::write(&a, b"comes").unwrap();
        fs::rename(&a, &b).unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"comes");
        assert!(!a.exists());
        fs::remove_file(&b).unwrap();
    }

    fn look(&mut self) {
        assert_eq!(fs::read(self.root.join("links/first")).unwrap(), b"linked");
        assert!(fs::metadata(self.root.join("records")).unwrap().len() == (RECORD * SLOTS) as u64);
        assert_eq!(fs::read(self.root.join(format!("stable/s{}", self.random.index(STABLE)))).unwrap(), b"s");
    }

    /// What this thread did, at the end.
    pub fn assert_kept(&self, mountpoint: &Path) -> usize {
        let own = fs::read(mountpoint.join("shared/own")).unwrap();
        for (slot, bytes) in &self.records {
            assert!(&own[slot * RECORD..(slot + 1) * RECORD] == bytes, "slot {slot} of thread {}", self.thread);
        }
        self.links.len()
    }
}

impl Shared {
    /// What all did, at the end. `links`: how many links of the common inode the threads have.
    pub fn assert_held(&self, mountpoint: &Path, links: usize) {
        let root = mountpoint.join("shared");
        let counter = fs::read(root.join("counter")).unwrap();
        assert_eq!(counter, self.increments.load(Ordering::SeqCst).to_le_bytes(), "increments under the lock");
        let records = fs::read(root.join("records")).unwrap();
        for (slot, found) in records.chunks(RECORD).enumerate() {
            assert!(found.chunks(16).all(|word| word == &found[..16]), "slot {slot} is of several writers");
        }
        let winners = self.winners.lock().unwrap();
        assert!(winners.values().all(|&won| won == 1), "not one winner: {winners:?}");
        let mut made: Vec<_> = winners.keys().cloned().collect();
        made.push(".keep".to_owned());
        assert_eq!(names(&root.join("races")), sorted(made));
        let linked = fs::metadata(root.join("links/first")).unwrap();
        assert_eq!(linked.nlink() as usize, links + 1, "links of the common inode");
        assert_eq!(names(&root.join("links")).len(), links + 1);
        assert_eq!(names(&root.join("stable")).len(), STABLE);
    }
}

fn names(dir: &Path) -> Vec<String> {
    sorted(fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
