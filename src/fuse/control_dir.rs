//! The control directory: `.ctl` at the root of a mount, answered by lookups and never listed there.
//!
//! ```text
//! 2^42            the directory, for the mount's owner and root alone
//! 2^42 + 1 + i    file i of the implementation
//! ```
//! Files are read and written without the page cache, so that what is read is what was true at the open, and a failing command fails its own
//! write(2). A file's size is always told as 0, as in procfs, and its attributes are never cached.
//!
//! Locking: `handles` is a leaf; it is not held while a command runs.

use super::convert::{self, BLOCK_SIZE};
use super::errno::{Fault, Refusal};
use super::{ControlAccess, ControlFiles};
use crate::format::CONTROL_NAME;
use crate::locks::Mutex;
use crate::vfs::{Caller, Ino};
use fuser::{FileAttr, FileType, INodeNo};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

const FIRST: u64 = Ino::END.0;

/// A node of the control directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(usize),
}

/// What an open of a control file holds.
#[derive(Debug, Clone)]
struct Handle {
    file: usize,
    /// The content at the open or after the last write; empty when it was opened for writing alone.
    content: Arc<[u8]>,
    reading: bool,
}

/// The control directory of one mount.
pub(super) struct ControlDir {
    files: Arc<dyn ControlFiles>,
    access: ControlAccess,
    owner: Caller,
    since: SystemTime,
    handles: Mutex<HashMap<u64, Handle>>,
    next_handle: AtomicU64,
}

impl ControlDir {
    /// `owner`: who may use it, besides root.
    pub(super) fn new(files: Arc<dyn ControlFiles>, access: ControlAccess, owner: Caller) -> Self {
        Self {
            files,
            access,
            owner,
            since: SystemTime::now(),
            handles: Mutex::default(),
            next_handle: AtomicU64::new(1),
        }
    }

    /// Whether `name` in the directory `parent` is the control directory.
    pub(super) fn is_at(parent: u64, name: &[u8]) -> bool {
        parent == Ino::ROOT.0 && name == CONTROL_NAME
    }

    /// The control node of a number from the kernel's requests.
    pub(super) fn node(&self, number: u64) -> Option<Node> {
        match number.checked_sub(FIRST)? {
            0 => Some(Node::Dir),
            place => {
                let index = usize::try_from(place - 1).ok()?;
                (index < self.files.files().len()).then_some(Node::File(index))
            }
        }
    }

    fn number(node: Node) -> u64 {
        match node {
            Node::Dir => FIRST,
            Node::File(index) => FIRST + 1 + index as u64,
        }
    }

    /// Finds `name` in the directory, or in what isn't one.
    pub(super) fn lookup(&self, parent: Node, name: &[u8]) -> Result<FileAttr, Fault> {
        match parent {
            Node::File(_) => Err(Refusal::NotDir.into()),
            Node::Dir => {
                let index = self.files.files().iter().position(|file| file.name.as_bytes() == name);
                let index = index.ok_or(Refusal::NoControlFile)?;
                Ok(self.attr(Node::File(index)))
            }
        }
    }

    /// Attributes of a node.
    pub(super) fn attr(&self, node: Node) -> FileAttr {
        let (kind, perm, nlink) = match node {
            Node::Dir => (FileType::Directory, 0o500, 2),
            Node::File(index) if self.is_writable(index) => (FileType::RegularFile, 0o600, 1),
            Node::File(_) => (FileType::RegularFile, 0o400, 1),
        };
        FileAttr {
            ino: INodeNo(Self::number(node)),
            kind,
            perm,
            nlink,
            uid: self.owner.uid,
            gid: self.owner.gid,
            atime: self.since,
            mtime: self.since,
            ctime: self.since,
            crtime: UNIX_EPOCH,
            blksize: BLOCK_SIZE,
            ..convert::absent()
        }
    }

    fn is_writable(&self, index: usize) -> bool {
        self.access == ControlAccess::Rw && self.files.files().get(index).is_some_and(|file| file.writable)
    }

    /// Lists from after `cookie`, `.` and `..` first, until `each` (number, type, name, cookie) returns false.
    pub(super) fn list(&self, node: Node, cookie: u64, each: &mut dyn FnMut(FileAttr, &[u8], u64) -> bool) {
        let files = self.files.files().iter().enumerate();
        let files = files.map(|(index, file)| (self.attr(Node::File(index)), file.name.as_bytes()));
        let here = self.attr(node);
        let root = FileAttr { ino: INodeNo(Ino::ROOT.0), ..here };
        let entries = [(here, &b"."[..]), (root, b"..")].into_iter().chain(files);
        for (place, (attr, name)) in (1..).zip(entries) {
            if place > cookie && !each(attr, name, place) {
                return;
            }
        }
    }

    /// Opens a file and takes its content, when it is to be read.
    pub(super) fn open(&self, caller: Caller, node: Node, reading: bool, writing: bool) -> Result<u64, Fault> {
        let Node::File(file) = node else { return Err(Refusal::IsDir.into()) };
        if caller.uid != self.owner.uid && caller.uid != 0 || writing && !self.is_writable(file) {
            return Err(Refusal::NotOwner.into());
        }
        let content = if reading { self.files.read(file)? } else { Vec::new() };
        let handle = self.next_handle.fetch_add(1, Relaxed);
        self.handles.lock().insert(handle, Handle { file, content: content.into(), reading });
        Ok(handle)
    }

    fn handle(&self, handle: u64) -> Result<Handle, Fault> {
        Ok(self.handles.lock().get(&handle).cloned().ok_or(Refusal::BadHandle)?)
    }

    /// What was there at the open, from `offset`, at most `size` bytes.
    pub(super) fn read(&self, handle: u64, offset: u64, size: usize) -> Result<Vec<u8>, Fault> {
        let content = self.handle(handle)?.content;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let to = from.saturating_add(size).min(content.len());
        Ok(content[from..to].to_vec())
    }

    /// Runs one write(2)'s text as a command, without its line end. Whoever reads by the same handle afterwards reads the outcome.
    pub(super) fn write(&self, handle: u64, text: &[u8]) -> Result<(), Fault> {
        let Handle { file, reading, .. } = self.handle(handle)?;
        let outcome = self.files.write(file, text.strip_suffix(b"\n").unwrap_or(text));
        if reading {
            let content = self.files.read(file)?.into();
            if let Some(open) = self.handles.lock().get_mut(&handle) {
                open.content = content;
            }
        }
        Ok(outcome?)
    }

    /// Closes a handle.
    pub(super) fn release(&self, handle: u64) {
        self.handles.lock().remove(&handle);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ControlError, ControlFile};
    use super::*;

    struct Fake(Mutex<Vec<String>>);

    impl ControlFiles for Fake {
        fn files(&self) -> &[ControlFile] {
            &[ControlFile { name: "stats", writable: false }, ControlFile { name: "cmd", writable: true }]
        }
        fn read(&self, index: usize) -> Result<Vec<u8>, ControlError> {
            Ok(format!("{index}:{}", self.0.lock().len()).into_bytes())
        }
        fn write(&self, _: usize, text: &[u8]) -> Result<(), ControlError> {
            self.0.lock().push(String::from_utf8_lossy(text).into_owned());
            Ok(())
        }
    }

    const OWNER: Caller = Caller { uid: 7, gid: 7, pid: 1 };

    fn dir(access: ControlAccess) -> (ControlDir, Arc<Fake>) {
        let files = Arc::new(Fake(Mutex::default()));
        (ControlDir::new(files.clone(), access, OWNER), files)
    }

    #[test]
    fn numbers_and_nodes_agree() {
        let (dir, _) = dir(ControlAccess::Rw);
        for node in [Node::Dir, Node::File(0), Node::File(1)] {
            assert_eq!(dir.node(ControlDir::number(node)), Some(node));
        }
        assert_eq!(dir.node(FIRST + 3), None);
        assert_eq!(dir.node(1), None);
    }

    #[test]
    fn strangers_are_refused_and_read_only_means_it() {
        let (rw, _) = dir(ControlAccess::Rw);
        let stranger = Caller { uid: 8, ..OWNER };
        assert!(rw.open(stranger, Node::File(0), true, false).is_err());
        assert!(rw.open(Caller { uid: 0, ..OWNER }, Node::File(1), false, true).is_ok());
        assert!(rw.open(OWNER, Node::File(0), false, true).is_err(), "stats can't be written");
        let (ro, _) = dir(ControlAccess::Ro);
        assert!(ro.open(OWNER, Node::File(1), false, true).is_err());
        assert_eq!(ro.attr(Node::File(1)).perm, 0o400);
    }

    #[test]
    fn content_is_of_the_open_and_each_write_is_a_command() {
        let (dir, files) = dir(ControlAccess::Rw);
        let handle = dir.open(OWNER, Node::File(1), true, true).unwrap();
        dir.write(handle, b"gc\n").unwrap();
        dir.write(handle, b"sync").unwrap();
        assert_eq!(*files.0.lock(), ["gc", "sync"]);
        assert_eq!(dir.read(handle, 0, 100).unwrap(), b"1:2", "what the last command came to");
        assert_eq!(dir.read(handle, 2, 100).unwrap(), b"2");
        let reader = dir.open(OWNER, Node::File(1), true, false).unwrap();
        dir.write(handle, b"gc").unwrap();
        assert_eq!(dir.read(reader, 0, 100).unwrap(), b"1:2", "what was there at the open");
        assert_eq!(dir.read(handle, u64::MAX, 100).unwrap(), b"");
        dir.release(handle);
        assert!(dir.read(handle, 0, 1).is_err());
    }

    #[test]
    fn listing_resumes_after_a_cookie() {
        let (dir, _) = dir(ControlAccess::Rw);
        let mut names = Vec::new();
        dir.list(Node::Dir, 2, &mut |_, name, cookie| {
            names.push((String::from_utf8_lossy(name).into_owned(), cookie));
            true
        });
        assert_eq!(names, [("stats".to_owned(), 3), ("cmd".to_owned(), 4)]);
    }
}
