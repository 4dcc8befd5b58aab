//! The kernel's requests. Every method decodes, counts, calls, and replies; what is called is in the `*_ops` modules, how outcomes are answered
//! in `replies`, what the mount starts with in `negotiation`. The rest is one file because the trait is one.

use super::adapter::{Adapter, Node};
use super::backing::Registered;
use super::control_requests::ControlRequest;
use super::convert::{self, FOREVER};
use super::errno::Refusal;
use super::metrics::Op;
use super::replies::{
    GENERATION, reply_attr, reply_created, reply_empty, reply_entry, reply_open, reply_stat_fs, reply_xattr,
};
use crate::vfs::{HandleId, Make, SetAttr};
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::cell::RefCell;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The largest read that is answered; the kernel asks for 1 MiB at most.
const READ_LIMIT: usize = 16 << 20;

thread_local! {
    /// Reads are answered from here, so that a read costs no allocation.
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Adapter {
    fn control_request(&self, node: INodeNo) -> Option<ControlRequest> {
        let control = Arc::clone(self.control_of(node.0)?);
        Some(ControlRequest { control, meter: self.meter.clone(), node })
    }

    /// Counts a request that is never granted.
    fn refuse(&self, node: INodeNo, refusal: Refusal) -> Errno {
        let Err(errno) = self.meter.run::<Infallible>(Op::Other, node, || Err(refusal.into()));
        errno
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.negotiate(config);
        Ok(())
    }

    fn destroy(&mut self) {
        if let Err(error) = self.fs.close() {
            tracing::error!(%error, "closing the filesystem failed");
            *self.farewell.lock() = Some(error);
        }
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _turn = self.turns.begin(req.pid());
        match self.meter.run(Op::Lookup, parent, || self.find(parent.0, name)) {
            Ok(Some(entry)) => reply_entry(reply, Ok(entry)),
            Ok(None) => reply.entry(&FOREVER, &convert::absent(), GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        let _turn = self.turns.begin_unawaited();
        // Nobody waits for an answer.
        let _unanswered = self.meter.run(Op::Forget, ino, || {
            self.forget_node(ino.0, nlookup);
            Ok(())
        });
    }

    fn getattr(&self, req: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let _turn = self.turns.begin(req.pid());
        reply_attr(reply, self.meter.run(Op::GetAttr, ino, || self.attr(ino.0)));
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let _turn = self.turns.begin(req.pid());
        let change = SetAttr {
            mode: mode.map(convert::mode),
            uid,
            gid,
            size,
            atime: atime.map(convert::set_time),
            mtime: mtime.map(convert::set_time),
            ctime: ctime.map(convert::timestamp),
            handle: fh.map(|fh| HandleId(fh.0)),
        };
        reply_attr(reply, self.meter.run(Op::SetAttr, ino, || self.set_attr(convert::caller(req), ino.0, &change)));
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        let _turn = self.turns.begin(req.pid());
        match self.meter.run(Op::ReadLink, ino, || self.read_link(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        let _turn = self.turns.begin(req.pid());
        let caller = convert::caller(req);
        let make = || self.make_node(caller, (parent.0, name), mode, umask, rdev);
        reply_entry(reply, self.meter.run(Op::MakeNode, parent, make));
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let _turn = self.turns.begin(req.pid());
        let make = || self.make(convert::caller(req), (parent.0, name), Make::Dir, mode, umask);
        reply_entry(reply, self.meter.run(Op::MakeDir, parent, make));
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _turn = self.turns.begin(req.pid());
        let target = Make::Symlink(target.as_os_str().as_bytes().into());
        let make = || self.make(convert::caller(req), (parent.0, name), target, 0o777, 0);
        reply_entry(reply, self.meter.run(Op::Symlink, parent, make));
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.turns.begin(req.pid());
        reply_empty(reply, self.meter.run(Op::Unlink, parent, || self.remove(parent.0, name, false)));
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.turns.begin(req.pid());
        reply_empty(reply, self.meter.run(Op::RemoveDir, parent, || self.remove(parent.0, name, true)));
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let _turn = self.turns.begin(req.pid());
        let rename = || self.rename((parent.0, name), (newparent.0, newname), flags);
        reply_empty(reply, self.meter.run(Op::Rename, parent, rename));
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let _turn = self.turns.begin(req.pid());
        reply_entry(reply, self.meter.run(Op::Link, ino, || self.link(ino.0, newparent.0, newname)));
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let _turn = self.turns.begin(req.pid());
        let outcome = self.meter.run(Op::Create, parent, || {
            let register = |file: &std::fs::File| reply.open_backing(file).map(Registered::Kernel);
            self.create_file(convert::caller(req), (parent.0, name), (mode, umask), OpenFlags(flags), &register)
        });
        reply_created(reply, outcome);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _turn = self.turns.begin(req.pid());
        if let Some(request) = self.control_request(ino) {
            return request.open(convert::caller(req), flags.into(), reply);
        }
        let outcome = self.meter.run(Op::Open, ino, || {
            let register = |file: &std::fs::File| reply.open_backing(file).map(Registered::Kernel);
            self.open_file(convert::caller(req), ino.0, flags, &register)
        });
        reply_open(reply, outcome);
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _turn = self.turns.begin(req.pid());
        let size = (size as usize).min(READ_LIMIT);
        READ_BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match self.meter.run(Op::Read, ino, || self.read_file(ino.0, fh.0, offset, &mut buffer[..size])) {
                Ok(count) => reply.data(&buffer[..count]),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let _turn = self.turns.begin(req.pid());
        if let Some(request) = self.control_request(ino) {
            return request.write(fh.0, data.to_vec(), reply);
        }
        let kill_priv = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID).then(|| convert::caller(req));
        match self.meter.run(Op::Write, ino, || self.write_file((ino.0, fh.0), offset, data, kill_priv)) {
            Ok(count) => reply.written(u32::try_from(count).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Nothing is held back that a close would have to bring out, so the kernel needn't ask again.
        reply.error(self.refuse(ino, Refusal::LeftToKernel));
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.turns.begin_unawaited();
        reply_empty(reply, self.meter.run(Op::Release, ino, || self.release_file(ino.0, fh.0)));
    }

    fn fsync(&self, req: &Request, ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let _turn = self.turns.begin(req.pid());
        reply_empty(reply, self.meter.run(Op::Fsync, ino, || self.fsync_file(ino.0, fh.0, datasync)));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Listings hold no state here, so the kernel needn't ask: told so once, it opens and caches directories by itself.
        let outcome =
            self.meter.run(Op::Other, ino, || if self.no_opendir { Err(Refusal::LeftToKernel.into()) } else { Ok(()) });
        match outcome {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, req: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let _turn = self.turns.begin(req.pid());
        let mut any = false;
        let outcome = self.meter.run(Op::ReadDir, ino, || {
            self.list(ino.0, offset, false, &mut |line| {
                let taken = !reply.add(line.number, line.cookie, line.kind, line.name);
                any |= taken;
                taken
            })
        });
        match outcome {
            // What was found before the error is told first; the next request meets it again.
            Err(errno) if !any => reply.error(errno),
            Ok(()) | Err(_) => reply.ok(),
        }
    }

    fn readdirplus(&self, req: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let _turn = self.turns.begin(req.pid());
        let mut any = false;
        let outcome = self.meter.run(Op::ReadDir, ino, || {
            self.list(ino.0, offset, true, &mut |line| {
                let Some((attr, keep)) = line.attr else { return false };
                let taken = !reply.add(line.number, line.cookie, line.name, &keep, &attr, GENERATION);
                any |= taken;
                taken
            })
        });
        match outcome {
            Err(errno) if !any => reply.error(errno),
            Ok(()) | Err(_) => reply.ok(),
        }
    }

    fn fsyncdir(&self, req: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let _turn = self.turns.begin(req.pid());
        let sync = || match self.node(ino.0)? {
            Node::File(ino) => Ok(self.fs.fsync_dir(ino)?),
            Node::Control(..) => Ok(()),
        };
        reply_empty(reply, self.meter.run(Op::FsyncDir, ino, sync));
    }

    fn statfs(&self, req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let _turn = self.turns.begin(req.pid());
        reply_stat_fs(reply, self.meter.run(Op::StatFs, ino, || self.stat_fs()));
    }

    fn setxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, _: u32, reply: ReplyEmpty) {
        let _turn = self.turns.begin(req.pid());
        let set = || self.set_xattr(convert::caller(req), ino.0, name, value, flags);
        reply_empty(reply, self.meter.run(Op::SetXattr, ino, set));
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _turn = self.turns.begin(req.pid());
        reply_xattr(reply, self.meter.run(Op::GetXattr, ino, || self.get_xattr(ino.0, name, size)));
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let _turn = self.turns.begin(req.pid());
        let list = || self.list_xattr(convert::caller(req), ino.0, size);
        reply_xattr(reply, self.meter.run(Op::ListXattr, ino, list));
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.turns.begin(req.pid());
        let remove = || self.remove_xattr(ino.0, name);
        reply_empty(reply, self.meter.run(Op::RemoveXattr, ino, remove));
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let _turn = self.turns.begin(req.pid());
        let reserve = || Ok(self.fs.fallocate(self.file_handle(ino.0, fh.0)?, offset, length, mode)?);
        reply_empty(reply, self.meter.run(Op::Fallocate, ino, reserve));
    }

    fn lseek(&self, req: &Request, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let _turn = self.turns.begin(req.pid());
        match self.meter.run(Op::Seek, ino, || self.seek(ino.0, fh.0, offset, whence)) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno),
        }
    }

    fn copy_file_range(
        &self,
        req: &Request,
        ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let _turn = self.turns.begin(req.pid());
        let copy = || self.copy_range((ino_in.0, fh_in.0, offset_in), (ino_out.0, fh_out.0, offset_out), len);
        match self.meter.run(Op::CopyRange, ino_out, copy) {
            Ok(count) => reply.written(count),
            Err(errno) => reply.error(errno),
        }
    }

    fn ioctl(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(self.refuse(ino, Refusal::NoIoctl));
    }

    fn poll(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        // Files are always ready, and the kernel knows that once it has been told that there is nothing to ask.
        reply.error(self.refuse(ino, Refusal::LeftToKernel));
    }

    fn bmap(&self, _: &Request, ino: INodeNo, _: u32, _: u64, reply: ReplyBmap) {
        reply.error(self.refuse(ino, Refusal::LeftToKernel));
    }
}
