//! What a sequence's directory is on.

use super::host::{Host, walk};
use super::run::System;
use super::starting;
use super::tree::Tree;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::path::{Path, PathBuf};

/// A filesystem that sequences run on, each in a directory of its own with the starting tree.
pub trait Machine: Send {
    fn name(&self) -> &'static str;
    /// The directory for the next sequence.
    fn fresh(&mut self) -> PathBuf;
    /// The sequence is over; its directory may go.
    fn done(&mut self) {}
    /// The tree of a snapshot taken now, of the sequence's directory. `None`: there is no such thing here.
    fn snapshot(&mut self) -> Option<Tree> {
        None
    }
    /// Takes a snapshot, with nothing open, and goes on in a new layer on it.
    fn new_layer(&mut self) -> PathBuf;
    /// Unmounts, with nothing open, and mounts again; returns where the sequence's directory is now.
    fn remount(&mut self) -> PathBuf;
    /// Kills what serves the filesystem, with everything open, and mounts again.
    fn crash(&mut self) -> PathBuf;
}

/// A directory of the machine's own filesystem. It neither crashes nor remounts.
pub struct Plain {
    folder: PathBuf,
    count: u64,
}

impl Plain {
    pub fn new(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, count: 0 }
    }

    fn at(&self) -> PathBuf {
        self.folder.join(self.count.to_string())
    }
}

/// Makes the starting tree in a new directory.
pub fn make_starting_tree(at: &Path) {
    std::fs::create_dir(at).unwrap();
    let folder = at.parent().expect("a directory below another").to_owned();
    let mut host = Host::below(at.to_owned(), Box::new(Plain { folder, count: 0 }));
    for op in starting::ops() {
        host.apply(op).unwrap_or_else(|error| panic!("the starting tree can be made: {op:?}: {error:?}"));
    }
}

impl Machine for Plain {
    fn name(&self) -> &'static str {
        "ext4"
    }

    fn fresh(&mut self) -> PathBuf {
        self.count += 1;
        make_starting_tree(&self.at());
        self.at()
    }

    fn done(&mut self) {
        std::fs::remove_dir_all(self.at()).unwrap();
    }

    /// What stays of the times is the modification's.
    fn new_layer(&mut self) -> PathBuf {
        for (path, leaf) in tree_of(&self.at()) {
            let (tv_sec, nanos) = leaf.seen.mtime;
            let time = Timespec { tv_sec, tv_nsec: nanos.into() };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, self.at().join(path.real()), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        self.at()
    }

    fn remount(&mut self) -> PathBuf {
        self.at()
    }

    fn crash(&mut self) -> PathBuf {
        self.at()
    }
}

/// The tree below a directory that is there.
pub fn tree_of(at: &Path) -> Tree {
    walk(at).unwrap_or_else(|error| panic!("{} can be read: {error:?}", at.display()))
}
