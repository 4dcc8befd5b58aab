//! Random steps.

use super::Random;
use super::model::{Bytes, Entry, Id, Model, State};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// What workers of one mount share: how far each has come, and how far each is known to be on disk.
pub struct Progress {
    pub acknowledged: Vec<AtomicUsize>,
    pub floor: Vec<AtomicUsize>,
    pub stop: AtomicBool,
    /// The crash is under way. A sync that returns from now on proves nothing: a filesystem that is being shut down lets some return 0 that wrote
    /// nothing (suspected of ext4, not traced of Linux 6.18), which a machine without power doesn't.
    pub crashing: AtomicBool,
    pub steps: AtomicU64,
    pub syncs: AtomicU64,
}

impl Progress {
    pub fn new(workers: usize) -> Self {
        let counts = || (0..workers).map(|_| AtomicUsize::new(1)).collect();
        Self {
            acknowledged: counts(),
            floor: counts(),
            stop: AtomicBool::new(false),
            crashing: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        }
    }
}

/// A worker on a mount.
pub struct Worker<'a> {
    pub number: usize,
    /// Root of the mount.
    pub root: PathBuf,
    pub random: Random,
    pub model: Model,
    pub progress: &'a Progress,
    /// Files whose last name went while they were open.
    pub held: Vec<File>,
    /// The error that ended it.
    pub end: Option<io::Error>,
}

const FILES: usize = 24;

impl Worker<'_> {
    /// Works until something fails or it is told to stop.
    pub fn run(&mut self) {
        while !self.progress.stop.load(SeqCst) {
            if let Err(error) = self.step() {
                self.end = Some(error);
                return;
            }
            self.progress.steps.fetch_add(1, SeqCst);
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.join(format!("w{}", self.number))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir().join(path)
    }

    fn step(&mut self) -> io::Result<()> {
        let files: Vec<String> = paths(self.model.now(), true);
        let dirs: Vec<String> = paths(self.model.now(), false);
        let file = self.random.pick(&files).cloned();
        match (self.random.index(100), file) {
            (0..14, _) if files.len() < FILES => self.create(&dirs),
            (0..26, Some(file)) => self.append(&file),
            (26..36, Some(file)) => self.overwrite(&file),
            (36..41, Some(file)) => self.truncate(&file),
            (41..47, Some(file)) => self.replace(&file),
            (47..52, Some(file)) => self.rename(&file, &dirs, &files),
            (52..59, Some(file)) => self.unlink(&file),
            (59..63, _) => self.mkdir(&dirs),
            (63..66, _) => self.rmdir(&dirs),
            (66..70, Some(file)) if files.len() < FILES => self.link(&file, &dirs),
            (70..75, Some(file)) => self.set_xattr(&file),
            (75..79, Some(file)) => self.chmod(&file),
            (79..90, Some(file)) => self.fsync(&file),
            (90..95, _) => self.fsync_dir(&dirs),
            (95..97, _) => self.sync(),
            _ => self.create(&dirs),
        }
    }

    fn done(&mut self) {
        self.model.acknowledge();
        self.progress.acknowledged[self.number].store(self.model.acknowledged, SeqCst);
    }

    fn fresh(&mut self, dirs: &[String]) -> String {
        let dir = self.random.pick(dirs).cloned().unwrap_or_default();
        let name = format!("n{}", self.random.next() % 1_000_000);
        if dir.is_empty() { name } else { format!("{dir}/{name}") }
    }

    fn id(&self, path: &str) -> Id {
        self.model.now()[path].file.expect("a file")
    }

    fn create(&mut self, dirs: &[String]) -> io::Result<()> {
        let path = self.fresh(dirs);
        if self.model.now().contains_key(&path) {
            return Ok(());
        }
        let id = self.model.next;
        self.model.next += 1;
        self.model.bytes.insert(id, Bytes::new(Vec::new()));
        let entry = Arc::new(Entry { file: Some(id), mode: 0o600, xattr: None });
        self.model.change(|state| drop(state.insert(path.clone(), entry)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.at(&path))?;
        self.done();
        self.model.numbers.insert(id, file.metadata()?.ino());
        let length = 1 + self.random.index(20_000);
        let content = self.random.bytes(length);
        self.write_at(id, &file, 0, &content)
    }

    fn write_at(&mut self, id: Id, file: &File, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.model.write(id, |content| {
            content.resize(content.len().max(at + bytes.len()), 0);
            content[at..at + bytes.len()].copy_from_slice(bytes);
        });
        file.write_all_at(bytes, at as u64)?;
        self.model.written(id);
        Ok(())
    }

    fn append(&mut self, path: &str) -> io::Result<()> {
        let id = self.id(path);
        let length = 1 + self.random.index(9000);
        let bytes = self.random.bytes(length);
        let file = OpenOptions::new().append(true).open(self.at(path))?;
        let end = self.model.bytes[&id].now().len();
        self.write_at(id, &file, end, &bytes)
    }

    fn overwrite(&mut self, path: &str) -> io::Result<()> {
        let id = self.id(path);
        let length = 1 + self.random.index(9000);
        let bytes = self.random.bytes(length);
        let at = self.random.index(self.model.bytes[&id].now().len() + 1);
        let file = OpenOptions::new().write(true).open(self.at(path))?;
        self.write_at(id, &file, at, &bytes)
    }

    fn truncate(&mut self, path: &str) -> io::Result<()> {
        let id = self.id(path);
        let length = self.random.index(self.model.bytes[&id].now().len() + 1);
        self.model.write(id, |content| content.truncate(length));
        OpenOptions::new().write(true).open(self.at(path))?.set_len(length as u64)?;
        self.model.written(id);
        Ok(())
    }

    /// Writes a new file and renames it over another, as editors do, with or without fsync.
    fn replace(&mut self, over: &str) -> io::Result<()> {
        let new = match over.rsplit_once('/') {
            Some((dir, _)) => format!("{dir}/new"),
            None => "new".to_owned(),
        };
        if self.model.now().contains_key(&new) {
            return Ok(());
        }
        let id = self.model.next;
        self.model.next += 1;
        self.model.bytes.insert(id, Bytes::new(Vec::new()));
        let entry = Arc::new(Entry { file: Some(id), mode: 0o600, xattr: None });
        self.model.change(|state| drop(state.insert(new.clone(), Arc::clone(&entry))));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.at(&new))?;
        self.done();
        self.model.numbers.insert(id, file.metadata()?.ino());
        let length = 1 + self.random.index(40_000);
        let content = self.random.bytes(length);
        self.write_at(id, &file, 0, &content)?;
        if self.random.index(2) == 0 {
            self.sync_file(id, &file)?;
        } else if let Some(bytes) = self.model.bytes.get_mut(&id) {
            bytes.hasty = true;
        }
        self.move_name(&new, over)
    }

    fn move_name(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.model.change(|state| {
            let entry = state.remove(from).expect("it is there");
            state.insert(to.to_owned(), entry);
        });
        fs::rename(self.at(from), self.at(to))?;
        self.done();
        Ok(())
    }

    fn rename(&mut self, from: &str, dirs: &[String], files: &[String]) -> io::Result<()> {
        let over = self.random.pick(files).cloned().filter(|_| self.model.now().len() > 8);
        let to = match over {
            Some(over) if self.id(&over) != self.id(from) => over,
            _ => self.fresh(dirs),
        };
        if self.model.now().get(&to).is_some_and(|entry| entry.file.is_none()) {
            return Ok(());
        }
        self.move_name(from, &to)
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        if self.held.len() < 4 && self.random.index(3) == 0 {
            self.held.push(File::open(self.at(path))?);
        }
        self.model.change(|state| drop(state.remove(path)));
        fs::remove_file(self.at(path))?;
        self.done();
        Ok(())
    }

    fn mkdir(&mut self, dirs: &[String]) -> io::Result<()> {
        if dirs.len() > 6 {
            return Ok(());
        }
        let path = self.fresh(dirs);
        if self.model.now().contains_key(&path) {
            return Ok(());
        }
        let entry = Arc::new(Entry { file: None, mode: 0o755, xattr: None });
        self.model.change(|state| drop(state.insert(path.clone(), entry)));
        fs::create_dir(self.at(&path))?;
        self.done();
        Ok(())
    }

    fn rmdir(&mut self, dirs: &[String]) -> io::Result<()> {
        let is_empty = |dir: &&String| {
            !dir.is_empty() && !self.model.now().keys().any(|path| path.starts_with(&format!("{dir}/")))
        };
        let Some(dir) = dirs.iter().find(is_empty).cloned() else { return Ok(()) };
        self.model.change(|state| drop(state.remove(&dir)));
        fs::remove_dir(self.at(&dir))?;
        self.done();
        Ok(())
    }

    fn link(&mut self, from: &str, dirs: &[String]) -> io::Result<()> {
        let to = self.fresh(dirs);
        if self.model.now().contains_key(&to) {
            return Ok(());
        }
        self.model.change(|state| {
            let entry = Arc::clone(&state[from]);
            state.insert(to.clone(), entry);
        });
        fs::hard_link(self.at(from), self.at(&to))?;
        self.done();
        Ok(())
    }

    fn change_file(&mut self, path: &str, what: impl Fn(&mut Entry)) {
        let id = self.id(path);
        self.model.change(|state| {
            for entry in state.values_mut().filter(|entry| entry.file == Some(id)) {
                what(Arc::make_mut(entry));
            }
        });
    }

    fn set_xattr(&mut self, path: &str) -> io::Result<()> {
        // Now and then a large one, so that records and the database's journal are large too.
        let length = if self.random.index(8) == 0 { 10_000 } else { 1 + self.random.index(100) };
        let value = self.random.bytes(length);
        self.change_file(path, |entry| entry.xattr = Some(value.clone()));
        xattr::set(self.at(path), "user.crash", &value)?;
        self.done();
        Ok(())
    }

    fn chmod(&mut self, path: &str) -> io::Result<()> {
        let mode = 0o600 | self.random.index(0o100) as u32;
        self.change_file(path, |entry| entry.mode = mode);
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode))?;
        self.done();
        Ok(())
    }

    /// What all workers had done before a sync is on disk after it.
    fn synced(&mut self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let before: Vec<usize> = self.progress.acknowledged.iter().map(|count| count.load(SeqCst)).collect();
        sync()?;
        if self.progress.crashing.load(SeqCst) {
            return Err(io::Error::other("too late"));
        }
        for (floor, before) in self.progress.floor.iter().zip(before) {
            floor.fetch_max(before, SeqCst);
        }
        self.progress.syncs.fetch_add(1, SeqCst);
        Ok(())
    }

    fn sync_file(&mut self, id: Id, file: &File) -> io::Result<()> {
        let data_only = self.random.index(3) == 0;
        let metadata = file.metadata()?;
        self.synced(|| if data_only { file.sync_data() } else { file.sync_all() })?;
        let mtime = (!data_only).then(|| (metadata.mtime(), metadata.mtime_nsec()));
        self.model.bytes.get_mut(&id).expect("it is known").synced(mtime);
        Ok(())
    }

    fn fsync(&mut self, path: &str) -> io::Result<()> {
        let file = File::open(self.at(path))?;
        self.sync_file(self.id(path), &file)
    }

    fn fsync_dir(&mut self, dirs: &[String]) -> io::Result<()> {
        let dir = self.random.pick(dirs).cloned().unwrap_or_default();
        let dir = File::open(self.at(&dir))?;
        self.synced(|| dir.sync_all())
    }

    fn sync(&mut self) -> io::Result<()> {
        let path = self.root.join(".ctl/cmd");
        self.synced(|| fs::write(path, "sync"))?;
        for bytes in self.model.bytes.values_mut() {
            bytes.synced(None);
        }
        Ok(())
    }
}

fn paths(state: &State, files: bool) -> Vec<String> {
    let mut paths: Vec<String> =
        state.iter().filter(|(_, entry)| entry.file.is_some() == files).map(|(path, _)| path.clone()).collect();
    if !files {
        paths.push(String::new());
    }
    paths
}

/// What is beneath `dir`: the tree, with a number for each file in place of its model's, and each file's bytes, times and links.
pub struct Seen {
    pub state: State,
    pub files: std::collections::HashMap<Id, SeenFile>,
}

pub struct SeenFile {
    pub content: Vec<u8>,
    pub mtime: (i64, i64),
}

/// Reads all that is beneath `dir`; whatever can't be read fails the test.
pub fn look(dir: &Path) -> Seen {
    let mut seen = Seen { state: State::new(), files: std::collections::HashMap::new() };
    let mut pending = vec![String::new()];
    while let Some(at) = pending.pop() {
        let host = dir.join(&at);
        let entries = fs::read_dir(&host).unwrap_or_else(|error| panic!("{}: {error}", host.display()));
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if at.is_empty() { name } else { format!("{at}/{name}") };
            let host = dir.join(&path);
            let mut read = || -> io::Result<()> {
                let metadata = host.symlink_metadata()?;
                let xattr = xattr::get(&host, "user.crash")?;
                let file = metadata.is_file().then(|| metadata.ino());
                if let Some(ino) = file {
                    let content = fs::read(&host)?;
                    assert_eq!(content.len() as u64, metadata.len(), "{path}");
                    let mtime = (metadata.mtime(), metadata.mtime_nsec());
                    seen.files.insert(ino, SeenFile { content, mtime });
                } else {
                    pending.push(path.clone());
                }
                let entry = Entry { file, mode: metadata.mode() & 0o7777, xattr };
                seen.state.insert(path.clone(), Arc::new(entry));
                Ok(())
            };
            read().unwrap_or_else(|error| panic!("{}: {error}", host.display()));
        }
    }
    let nlinks = |id| Model::links(&seen.state, id) as u64;
    for (path, entry) in &seen.state {
        let metadata = dir.join(path).symlink_metadata().unwrap();
        let expected = match entry.file {
            Some(id) => nlinks(id),
            None => {
                let inside = |other: &&String| {
                    other
                        .strip_prefix(path.as_str())
                        .and_then(|rest| rest.strip_prefix('/'))
                        .is_some_and(|rest| !rest.contains('/'))
                };
                let dirs = seen.state.iter().filter(|(_, entry)| entry.file.is_none());
                2 + dirs.filter(|(other, _)| inside(other)).count() as u64
            }
        };
        assert_eq!(metadata.nlink(), expected, "links of {path}");
    }
    seen
}
