//! Answers: from what came of a request to what `fuser` sends.

use super::adapter::Entry;
use super::attr_ops::XattrAnswer;
use super::convert::FOREVER;
use super::file_ops::{OpenFile, Serve};
use crate::vfs::StatFs;
use fuser::{
    Errno, FileAttr, FileHandle, FopenFlags, Generation, ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyXattr,
};
use std::time::Duration;

/// Inode numbers are never used twice, so no node number needs a second generation.
pub(super) const GENERATION: Generation = Generation(0);

/// Bytes of the longest name in a directory, for statfs.
const NAME_LENGTH: u32 = crate::format::NAME_MAX as u32;

fn ttl(keep: bool) -> Duration {
    if keep { FOREVER } else { Duration::ZERO }
}

pub(super) fn reply_entry(reply: ReplyEntry, outcome: Result<Entry, Errno>) {
    match outcome {
        Ok(Entry { attr, attr_keep, entry_keep }) => {
            reply.entry_with_ttls(&ttl(attr_keep), &ttl(entry_keep), &attr, GENERATION);
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_attr(reply: ReplyAttr, outcome: Result<(FileAttr, bool), Errno>) {
    match outcome {
        Ok((attr, keep)) => reply.attr(&ttl(keep), &attr),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_empty(reply: ReplyEmpty, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_xattr<T: AsRef<[u8]>>(reply: ReplyXattr, outcome: Result<XattrAnswer<T>, Errno>) {
    match outcome {
        Ok(XattrAnswer::Size(size)) => reply.size(size),
        Ok(XattrAnswer::Value(value)) => reply.data(value.as_ref()),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_open(reply: ReplyOpen, outcome: Result<OpenFile, Errno>) {
    match outcome {
        Ok(OpenFile { handle, serve: Serve::Kernel(backing) }) => {
            reply.opened_passthrough(FileHandle(handle), FopenFlags::empty(), backing.id());
        }
        Ok(OpenFile { handle, serve: Serve::Daemon(flags) }) => reply.opened(FileHandle(handle), flags),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_created(reply: ReplyCreate, outcome: Result<(Entry, OpenFile), Errno>) {
    let (Entry { attr, .. }, OpenFile { handle, serve }) = match outcome {
        Ok(created) => created,
        Err(errno) => return reply.error(errno),
    };
    let (handle, passthrough) = (FileHandle(handle), FopenFlags::empty());
    match serve {
        Serve::Kernel(backing) => {
            reply.created_passthrough(&FOREVER, &attr, GENERATION, handle, passthrough, backing.id());
        }
        Serve::Daemon(flags) => reply.created(&FOREVER, &attr, GENERATION, handle, flags),
    }
}

pub(super) fn reply_stat_fs(reply: ReplyStatfs, outcome: Result<StatFs, Errno>) {
    match outcome {
        Ok(StatFs { block_size, blocks, free, available, files, files_free }) => {
            reply.statfs(blocks, free, available, files, files_free, block_size, NAME_LENGTH, block_size);
        }
        Err(errno) => reply.error(errno),
    }
}
