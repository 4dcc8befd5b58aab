//! Open files: opening, reading, writing, closing, and what else is done through a handle.

use super::adapter::{Adapter, Entry, Node};
use super::backing::{Backing, Registered};
use super::convert;
use super::errno::{Fault, Refusal};
use super::io_mode::{self, Grant, Live, NotAdmitted, Opening, Wish};
use crate::vfs::{Caller, ContentKey, HandleId, Ino, OpenMode, Opened, Seek};
use fuser::{FopenFlags, OpenAccMode, OpenFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Set by the kernel in the flags of an open for execve(2) (`__FMODE_EXEC`; no header of the C library has it).
const FOR_EXEC: i32 = 0x20;

/// The most that one copy_file_range request is answered for: the reply has 32 bits, and other requests want their turn.
const COPY_LIMIT: u64 = 1 << 30;

/// Registers a host file with the kernel; made from the request's reply.
pub(super) type Register<'a> = &'a dyn Fn(&File) -> io::Result<Registered>;

/// An open file, as the kernel is told of it.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) handle: u64,
    pub(super) serve: Serve,
}

/// Who serves reads and writes of an open file.
#[derive(Debug)]
pub(super) enum Serve {
    Kernel(Arc<Backing>),
    Daemon(FopenFlags),
}

/// What an open asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub(super) reading: bool,
    pub(super) mode: OpenMode,
    for_exec: bool,
}

impl From<OpenFlags> for Access {
    fn from(flags: OpenFlags) -> Self {
        let access = flags.acc_mode();
        Self {
            reading: access != OpenAccMode::O_WRONLY,
            mode: OpenMode { write: access != OpenAccMode::O_RDONLY, truncate: flags.0 & libc::O_TRUNC != 0 },
            for_exec: flags.0 & FOR_EXEC != 0,
        }
    }
}

impl Adapter {
    pub(super) fn open_file(
        &self,
        caller: Caller,
        node: u64,
        flags: OpenFlags,
        register: Register<'_>,
    ) -> Result<OpenFile, Fault> {
        let flags = Access::from(flags);
        // Control files are opened elsewhere: see `control_requests`.
        let Node::File(ino) = self.node(node)? else { return Err(Refusal::Bug.into()) };
        // Without truncation, or for writing, the kernel has refused this before it asked.
        if flags.mode.truncate && !flags.mode.write && self.running.is(ino) {
            return Err(Refusal::Running.into());
        }
        if let Some(newer) = self.nodes.newer(node) {
            return Err(self.prepare(newer, ino, flags, register));
        }
        // Where truncation comes with the open, the kernel leaves this to the filesystem, and doesn't tell CAP_FSETID.
        if flags.mode.truncate && !caller.is_machine_root() {
            self.fs.drop_privileges(caller, ino)?;
        }
        let opened = self.fs.open(ino, flags.mode)?;
        let file = self.serve(node, ino, opened, flags, register)?;
        if flags.for_exec {
            self.running.opened(file.handle, ino);
        }
        Ok(file)
    }

    /// Sees to it that `node`, which the kernel is about to be sent to, can serve the open: it looks a name up again once, so an answer
    /// that it should look once more would reach the program. Nothing is truncated yet. Returns what sends the kernel there.
    fn prepare(&self, node: u64, ino: Ino, flags: Access, register: Register<'_>) -> Fault {
        let mode = OpenMode { write: flags.mode.write || flags.mode.truncate, truncate: false };
        let flags = Access { mode, ..flags };
        let served = self.fs.open(ino, mode).map_err(Fault::from);
        match served.and_then(|opened| self.serve(node, ino, opened, flags, register)) {
            Ok(file) => {
                self.fs.release(HandleId(file.handle));
                self.modes.release(node);
                Refusal::Superseded.into()
            }
            Err(fault) => fault,
        }
    }

    /// Admits what was opened. What can't be served on this node by its older opens sends the kernel to another node.
    fn serve(
        &self,
        node: u64,
        ino: Ino,
        mut opened: Opened,
        flags: Access,
        register: Register<'_>,
    ) -> Result<OpenFile, Fault> {
        // It was truncated the first time; what others wrote since then stays.
        let again = OpenMode { truncate: false, ..flags.mode };
        for last in [false, true] {
            match self.admit(node, &opened, flags, register) {
                Ok(serve) => return Ok(OpenFile { handle: opened.handle.0, serve }),
                Err(fault) => {
                    self.fs.release(opened.handle);
                    fault.map_or(Ok(()), Err)?;
                }
            }
            // The content may have changed between its open and its admission; the second look settles it.
            if !last {
                opened = self.fs.open(ino, again)?;
            }
        }
        self.send_elsewhere(node);
        Err(Refusal::Superseded.into())
    }

    pub(super) fn create_file(
        &self,
        caller: Caller,
        (parent, name): (u64, &OsStr),
        (mode, umask): (u32, u32),
        flags: OpenFlags,
        register: Register<'_>,
    ) -> Result<(Entry, OpenFile), Fault> {
        let dir = self.writable_dir(parent, name)?;
        let flags = Access::from(flags);
        let (attr, opened) =
            self.fs.create(caller, dir, convert::name(name)?, convert::mode(mode), umask, flags.mode)?;
        let file = self.serve(attr.ino.0, attr.ino, opened, flags, register)?;
        Ok((self.entry(&attr), file))
    }

    /// Decides who serves the open file. `Err(None)`: not on this node while its older opens live, or not what the inode has any more.
    fn admit(&self, node: u64, opened: &Opened, flags: Access, register: Register<'_>) -> Result<Serve, Option<Fault>> {
        let content = opened.content;
        if flags.mode.write && matches!(content, ContentKey::Blob(_)) {
            tracing::error!(?content, node, "a blob was opened for writing; refused");
            return Err(Some(Refusal::Bug.into()));
        }
        let opening = Opening { read_only_mount: self.read_only, content, for_exec: flags.for_exec, size: opened.size };
        let wish = if self.backings.available() { io_mode::wish(opening) } else { Wish::Cached };
        let compare = |live: &Backing| match live {
            live if live.content() == content => Live::SameContent,
            live if matches!(opened.file(&self.fs), Ok(Some(file)) if live.is_same_file(&file)) => Live::SameHostFile,
            _ => Live::OtherContent,
        };
        let events = &self.meter.metrics().events;
        let grant = self
            .modes
            .admit(node, wish, flags.mode.write, compare, || self.backings.get(&self.fs, opened, events, register))
            .map_err(|why| match why {
                NotAdmitted::Conflict => None,
                NotAdmitted::Failed(error) => Some(error.into()),
            })?;
        // From the admission on, whoever writes joins this open. One that wrote and closed before would go unseen.
        if !opened.is_current() {
            self.modes.release(node);
            return Err(None);
        }
        Ok(match grant {
            Grant::Passthrough(backing) => {
                events.opens_passthrough.fetch_add(1, Relaxed);
                Serve::Kernel(backing)
            }
            Grant::Cached => {
                events.opens_cached.fetch_add(1, Relaxed);
                Serve::Daemon(FopenFlags::FOPEN_KEEP_CACHE)
            }
            Grant::CachedAnew => {
                events.opens_cached.fetch_add(1, Relaxed);
                Serve::Daemon(FopenFlags::empty())
            }
        })
    }

    /// Moves the inode to a new node. What the kernel cached of the older ones no longer counts.
    fn send_elsewhere(&self, node: u64) {
        self.meter.metrics().events.reopens_elsewhere.fetch_add(1, Relaxed);
        let stale = self.nodes.supersede(node);
        if let Some(notifier) = self.notifier.get() {
            for node in stale {
                // A negative offset drops attributes alone, which waits for no lock that a request may hold.
                if let Err(error) = notifier.inval_inode(fuser::INodeNo(node), -1, 0) {
                    tracing::warn!(node, %error, "can't drop cached attributes");
                }
            }
        }
    }

    pub(super) fn read_file(&self, node: u64, handle: u64, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        match self.node(node)? {
            Node::File(_) => Ok(self.fs.read(HandleId(handle), offset, buffer)?),
            Node::Control(control, _) => {
                let content = control.read(handle, offset, buffer.len())?;
                buffer[..content.len()].copy_from_slice(&content);
                Ok(content.len())
            }
        }
    }

    pub(super) fn write_file(
        &self,
        (node, handle): (u64, u64),
        offset: u64,
        data: &[u8],
        kill_priv: Option<Caller>,
    ) -> Result<usize, Fault> {
        match self.node(node)? {
            Node::File(ino) => {
                // First, as the kernel does: nothing new is ever run with the old privileges.
                if let Some(caller) = kill_priv {
                    self.fs.drop_privileges(caller, ino)?;
                }
                Ok(self.fs.write(HandleId(handle), offset, data)?)
            }
            Node::Control(..) => Err(Refusal::Bug.into()),
        }
    }

    pub(super) fn release_file(&self, node: u64, handle: u64) -> Result<(), Fault> {
        if let Some(control) = self.control_of(node) {
            control.release(handle);
        } else {
            self.fs.release(HandleId(handle));
            self.modes.release(node);
            self.running.released(handle);
        }
        Ok(())
    }

    /// The filesystem's handle; control files have none of this.
    pub(super) fn file_handle(&self, node: u64, handle: u64) -> Result<HandleId, Fault> {
        match self.node(node)? {
            Node::File(_) => Ok(HandleId(handle)),
            Node::Control(..) => Err(Refusal::ControlFixed.into()),
        }
    }

    pub(super) fn fsync_file(&self, node: u64, handle: u64, data_only: bool) -> Result<(), Fault> {
        match self.node(node)? {
            Node::File(_) => Ok(self.fs.fsync(HandleId(handle), data_only)?),
            Node::Control(..) => Ok(()),
        }
    }

    pub(super) fn seek(&self, node: u64, handle: u64, offset: i64, whence: i32) -> Result<i64, Fault> {
        let handle = self.file_handle(node, handle)?;
        let what = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return Err(Refusal::Flags.into()),
        };
        let offset = u64::try_from(offset).map_err(|_| crate::vfs::VfsError::NoData)?;
        let found = self.fs.seek(handle, offset, what)?;
        Ok(i64::try_from(found).map_err(|_| crate::vfs::VfsError::TooLarge)?)
    }

    pub(super) fn copy_range(&self, from: (u64, u64, u64), to: (u64, u64, u64), length: u64) -> Result<u32, Fault> {
        let (from_node, from_handle, from_offset) = from;
        let (to_node, to_handle, to_offset) = to;
        let source = (self.file_handle(from_node, from_handle)?, from_offset);
        let target = (self.file_handle(to_node, to_handle)?, to_offset);
        let copied = self.fs.copy_range(source, target, length.min(COPY_LIMIT))?;
        Ok(u32::try_from(copied).map_err(|_| Refusal::Bug)?)
    }
}
