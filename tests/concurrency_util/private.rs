//! Random operations on a directory that one thread alone uses, done to the mount and to the model.

use super::model::{Model, Node, Place, ROOT, assert_same_bytes, file};
use super::random::Random;
use crate::common::map::Map;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, RenameFlags, fallocate, renameat2};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const NAMES: usize = 12;
const FILE_MAX: usize = 40_000;
const DIRS_MAX: usize = 8;

/// What the base has in every private directory: short files, a long one, a hard link, a directory.
pub fn base() -> Vec<(&'static str, Vec<u8>)> {
    let long = (0..1_200_000_u32).map(|at| (at / 7) as u8).collect();
    vec![("n0", b"clean".to_vec()), ("n1", vec![b'c'; 9000]), ("n2", long), ("d/n3", b"below".to_vec())]
}

pub struct Private {
    root: PathBuf,
    pub model: Model,
    random: Random,
}

impl Private {
    pub fn new(root: PathBuf, seed: u64) -> Self {
        let mut model = Model::new();
        let place = |dir, name: &str| Place { dir, name: name.to_owned(), path: String::new() };
        let below = model.add(&place(ROOT, "d"), Node::Dir(BTreeMap::new()));
        for (path, content) in base() {
            let place = path.strip_prefix("d/").map_or_else(|| place(ROOT, path), |name| place(below, name));
            model.add(&place, file(&content));
        }
        let linked = model.entries(ROOT)["n1"];
        model.put(&place(ROOT, "n4"), linked);
        Self { root, model, random: Random(seed) }
    }

    fn place(&mut self) -> Place {
        let dirs = self.model.dirs();
        let (dir, path) = dirs[self.random.index(dirs.len())].clone();
        let name = format!("n{}", self.random.index(NAMES));
        Place { dir, path: format!("{path}{name}"), name }
    }

    fn at(&self, place: &Place) -> PathBuf {
        self.root.join(&place.path)
    }

    /// A place that has a file, if one is met soon.
    fn a_file(&mut self) -> Option<(Place, usize)> {
        (0..20).find_map(|_| {
            let place = self.place();
            let node = self.model.get(&place)?;
            matches!(self.model.nodes[node], Node::File { .. }).then_some((place, node))
        })
    }

    fn content(&mut self, node: usize) -> &mut Vec<u8> {
        match &mut self.model.nodes[node] {
            Node::File { content, .. } => content,
            _ => panic!("not a file"),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let first = self.random.index(256);
        (0..self.random.index(6000)).map(|at| (first + at / 3) as u8).collect()
    }

    /// Does one operation; `begins` is told which.
    pub fn step(&mut self, begins: &dyn Fn(&'static str)) {
        match self.random.index(20) {
            0 | 1 => (begins("create"), self.create()).1,
            2..=4 => (begins("write"), self.write()).1,
            5 | 6 => (begins("read"), self.read()).1,
            7 => (begins("truncate"), self.truncate()).1,
            8 => (begins("fallocate"), self.fallocate()).1,
            9..=11 => (begins("rename"), self.rename()).1,
            12 => (begins("link"), self.link()).1,
            13 => (begins("unlink"), self.unlink()).1,
            14 => (begins("mkdir"), self.mkdir()).1,
            15 => (begins("rmdir"), self.rmdir()).1,
            16 => (begins("chmod and setxattr"), self.set()).1,
            17 => (begins("mmap"), self.map()).1,
            18 => (begins("write unlinked"), self.write_unlinked()).1,
            _ => (begins("readdir and symlink"), self.list()).1,
        }
    }

    fn create(&mut self) {
        let place = self.place();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o644).open(self.at(&place));
        if self.model.get(&place).is_some() {
            assert_is(made.map(drop), Errno::EEXIST, "create", &place);
            return;
        }
        let bytes = self.bytes();
        made.unwrap_or_else(|error| panic!("create {}: {error}", place.path)).write_all_at(&bytes, 0).unwrap();
        self.model.add(&place, file(&bytes));
    }

    fn write(&mut self) {
        let Some((place, node)) = self.a_file() else { return };
        let (bytes, at) = (self.bytes(), self.random.index(FILE_MAX));
        let opened = OpenOptions::new().read(true).write(true).open(self.at(&place)).unwrap();
        opened.write_all_at(&bytes, at as u64).unwrap();
        if self.random.index(8) == 0 {
            opened.sync_data().unwrap();
        }
        let content = self.content(node);
        if !bytes.is_empty() {
            if content.len() < at + bytes.len() {
                content.resize(at + bytes.len(), 0);
            }
            content[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let mut found = vec![0; bytes.len()];
        opened.read_exact_at(&mut found, at as u64).unwrap();
        assert_same_bytes(&found, &bytes, &self.at(&place));
    }

    fn read(&mut self) {
        let Some((place, node)) = self.a_file() else { return };
        let found = fs::read(self.at(&place)).unwrap();
        let at = self.at(&place);
        assert_same_bytes(&found, self.content(node), &at);
    }

    fn truncate(&mut self) {
        let Some((place, node)) = self.a_file() else { return };
        let length = self.random.index(FILE_MAX);
        if self.random.index(3) == 0 {
            File::create(self.at(&place)).unwrap();
            self.content(node).clear();
        } else {
            let length_too = OpenOptions::new().write(true).open(self.at(&place)).unwrap();
            length_too.set_len(length as u64).unwrap();
            self.content(node).resize(length, 0);
        }
    }

    fn fallocate(&mut self) {
        let Some((place, node)) = self.a_file() else { return };
        let (at, length) = (self.random.index(FILE_MAX), 1 + self.random.index(9000));
        let punch = self.random.index(2) == 0;
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let opened = OpenOptions::new().write(true).open(self.at(&place)).unwrap();
        let flags = if punch { flags } else { FallocateFlags::empty() };
        fallocate(&opened, flags, at as i64, length as i64).unwrap();
        let content = self.content(node);
        if punch {
            let (from, to) = (at.min(content.len()), (at + length).min(content.len()));
            content[from..to].fill(0);
        } else if content.len() < at + length {
            content.resize(at + length, 0);
        }
    }

    fn rename(&mut self) {
        let (from, to) = (self.place(), self.place());
        let flags = match self.random.index(4) {
            0 => RenameFlags::RENAME_EXCHANGE,
            1 => RenameFlags::RENAME_NOREPLACE,
            _ => RenameFlags::empty(),
        };
        let done = renameat2(AT_FDCWD, &self.at(&from), AT_FDCWD, &self.at(&to), flags).map_err(io::Error::from);
        match self.judge_rename(&from, &to, flags) {
            Err(errors) => {
                let error = done.expect_err(&format!("rename {} to {} {flags:?}", from.path, to.path));
                let error = Errno::from_raw(error.raw_os_error().unwrap());
                assert!(errors.contains(&error), "rename {} to {} {flags:?}: {error}", from.path, to.path);
            }
            Ok(()) => {
                done.unwrap_or_else(|error| panic!("rename {} to {} {flags:?}: {error}", from.path, to.path));
                self.apply_rename(&from, &to, flags);
            }
        }
    }

    /// Whether a rename is possible, or the errors that it may have.
    fn judge_rename(&self, from: &Place, to: &Place, flags: RenameFlags) -> Result<(), Vec<Errno>> {
        let model = &self.model;
        let (moved, target) = (model.get(from), model.get(to));
        let exchange = flags == RenameFlags::RENAME_EXCHANGE;
        let mut errors = Vec::new();
        if moved.is_none() || (exchange && target.is_none()) {
            errors.push(Errno::ENOENT);
        }
        if flags == RenameFlags::RENAME_NOREPLACE && target.is_some() {
            errors.push(Errno::EEXIST);
        }
        if moved.is_some_and(|moved| model.is_dir(moved) && model.is_within(to.dir, moved)) {
            errors.push(Errno::EINVAL);
        }
        if let Some(target) = target {
            if model.is_dir(target) && model.is_within(from.dir, target) {
                errors.extend([Errno::EINVAL, Errno::ENOTEMPTY]);
            }
            if let Some(moved) = moved.filter(|&moved| flags.is_empty() && moved != target) {
                match (model.is_dir(moved), model.is_dir(target)) {
                    (true, false) => errors.push(Errno::ENOTDIR),
                    (false, true) => errors.push(Errno::EISDIR),
                    (true, true) if !model.entries(target).is_empty() => errors.push(Errno::ENOTEMPTY),
                    _ => {}
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn apply_rename(&mut self, from: &Place, to: &Place, flags: RenameFlags) {
        let (moved, target) = (self.model.get(from).unwrap(), self.model.get(to));
        if target == Some(moved) {
            return; // two names of one file
        }
        if flags == RenameFlags::RENAME_EXCHANGE {
            self.model.put(from, target.unwrap());
        } else {
            self.model.remove(from);
        }
        self.model.put(to, moved);
    }

    fn link(&mut self) {
        let (Some((from, node)), to) = (self.a_file(), self.place()) else { return };
        let done = fs::hard_link(self.at(&from), self.at(&to));
        if self.model.get(&to).is_some() {
            assert_is(done, Errno::EEXIST, "link", &to);
        } else {
            done.unwrap_or_else(|error| panic!("link {}: {error}", to.path));
            self.model.put(&to, node);
        }
    }

    fn unlink(&mut self) {
        let place = self.place();
        let done = fs::remove_file(self.at(&place));
        match self.model.get(&place) {
            None => assert_is(done, Errno::ENOENT, "unlink", &place),
            Some(node) if self.model.is_dir(node) => assert_is(done, Errno::EISDIR, "unlink", &place),
            Some(_) => {
                done.unwrap_or_else(|error| panic!("unlink {}: {error}", place.path));
                self.model.remove(&place);
            }
        }
    }

    fn mkdir(&mut self) {
        let place = self.place();
        if self.model.dirs().len() > DIRS_MAX && self.model.get(&place).is_none() {
            return;
        }
        let done = fs::create_dir(self.at(&place));
        if self.model.get(&place).is_some() {
            assert_is(done, Errno::EEXIST, "mkdir", &place);
        } else {
            done.unwrap_or_else(|error| panic!("mkdir {}: {error}", place.path));
            self.model.add(&place, Node::Dir(BTreeMap::new()));
        }
    }

    fn rmdir(&mut self) {
        let place = self.place();
        let done = fs::remove_dir(self.at(&place));
        match self.model.get(&place) {
            None => assert_is(done, Errno::ENOENT, "rmdir", &place),
            Some(node) if !self.model.is_dir(node) => assert_is(done, Errno::ENOTDIR, "rmdir", &place),
            Some(node) if !self.model.entries(node).is_empty() => assert_is(done, Errno::ENOTEMPTY, "rmdir", &place),
            Some(_) => {
                done.unwrap_or_else(|error| panic!("rmdir {}: {error}", place.path));
                self.model.remove(&place);
            }
        }
    }

    fn set(&mut self) {
        let Some((place, node)) = self.a_file() else { return };
        let at = self.at(&place);
        let (bits, value) = (0o600 | self.random.index(0o200) as u32, self.bytes());
        let value = value[..value.len().min(100)].to_vec();
        fs::set_permissions(&at, fs::Permissions::from_mode(bits)).unwrap();
        xattr::set(&at, "user.test", &value).unwrap();
        if let Node::File { mode, attribute, .. } = &mut self.model.nodes[node] {
            (*mode, *attribute) = (bits, Some(value));
        }
    }

    fn map(&mut self) {
        let Some((place, node)) = self.a_file() else { return };
        if self.content(node).is_empty() {
            return;
        }
        let length = self.content(node).len();
        let at = self.random.index(length);
        let opened = OpenOptions::new().read(true).write(true).open(self.at(&place)).unwrap();
        let map = Map::read_write(&opened);
        drop(opened);
        assert_eq!(map.get(at), self.content(node)[at], "{} by a map, at {at}", place.path);
        map.set(at, 0x5a);
        self.content(node)[at] = 0x5a;
    }

    /// Opens, unlinks, writes and reads what has no name any more.
    fn write_unlinked(&mut self) {
        let Some((place, node)) = self.a_file() else { return };
        let opened = OpenOptions::new().read(true).write(true).open(self.at(&place)).unwrap();
        fs::remove_file(self.at(&place)).unwrap();
        self.model.remove(&place);
        opened.write_all_at(b"!", 0).unwrap();
        let content = self.content(node);
        if content.is_empty() {
            content.push(b'!');
        }
        content[0] = b'!';
        let mut found = vec![0; content.len()];
        opened.read_exact_at(&mut found, 0).unwrap();
        let at = self.at(&place);
        assert_same_bytes(&found, self.content(node), &at);
    }

    fn list(&mut self) {
        let dirs = self.model.dirs();
        let (dir, path) = &dirs[self.random.index(dirs.len())];
        let listed = fs::read_dir(self.root.join(path)).unwrap();
        let mut found: Vec<String> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        let expected: Vec<String> = self.model.entries(*dir).keys().cloned().collect();
        assert_eq!(found, expected, "names in {path}");
        let place = self.place();
        let done = symlink("target", self.at(&place));
        if self.model.get(&place).is_some() {
            assert_is(done, Errno::EEXIST, "symlink", &place);
        } else {
            done.unwrap_or_else(|error| panic!("symlink {}: {error}", place.path));
            self.model.add(&place, Node::Symlink("target".to_owned()));
        }
    }

    pub fn assert_same(&self, mountpoint: &Path) {
        self.model.assert_same(&mountpoint.join(self.root.file_name().unwrap()));
    }
}

fn assert_is(done: io::Result<()>, errno: Errno, what: &str, place: &Place) {
    let found = done.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw);
    assert_eq!(found, Some(errno), "{what} {}", place.path);
}
