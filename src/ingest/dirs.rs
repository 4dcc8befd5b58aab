//! A path of open directories from a root down, of which only the deepest hold a file descriptor.
//!
//! A tree may be deeper than descriptors may be open. The root and the deepest `WINDOW` directories stay open; when the walk comes back up to a
//! closed one it is reopened as `..` of its child, and must be the same directory as before: one that was moved away meanwhile is an error.

use crate::sys::at;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

const WINDOW: usize = 64;

/// Open directories, from a root to where a walk is.
pub(crate) struct DirStack {
    frames: Vec<Frame>,
}

struct Frame {
    fd: Option<Arc<OwnedFd>>,
    id: (u64, u64),
}

impl DirStack {
    /// A walk that is at the root.
    pub(crate) fn new(root: OwnedFd) -> io::Result<Self> {
        let mut stack = Self { frames: Vec::new() };
        stack.push(root)?;
        Ok(stack)
    }

    /// The directory where the walk is.
    pub(crate) fn top(&self) -> &Arc<OwnedFd> {
        let open = self.frames.last().and_then(|frame| frame.fd.as_ref());
        open.expect("push and pop leave the last directory open, and the root is never popped")
    }

    /// The root.
    pub(crate) fn root(&self) -> &Arc<OwnedFd> {
        self.frames[0].fd.as_ref().expect("the root is never closed")
    }

    /// Goes down into `dir`, a directory in the one where the walk is.
    pub(crate) fn push(&mut self, dir: OwnedFd) -> io::Result<()> {
        let stat = at::stat_fd(&dir)?;
        self.frames.push(Frame { fd: Some(Arc::new(dir)), id: (stat.dev, stat.ino) });
        if let Some(high) = self.frames.len().checked_sub(WINDOW).filter(|&high| high > 0) {
            self.frames[high].fd = None;
        }
        Ok(())
    }

    /// Goes up to the parent; at the root it stays.
    pub(crate) fn pop(&mut self) -> io::Result<()> {
        if self.frames.len() < 2 {
            return Ok(());
        }
        let parent_at = self.frames.len() - 2;
        if self.frames[parent_at].fd.is_none() {
            let parent = at::open_dir_at(self.top(), b"..")?;
            let stat = at::stat_fd(&parent)?;
            if self.frames[parent_at].id != (stat.dev, stat.ino) {
                return Err(io::Error::other("it was moved to another directory meanwhile"));
            }
            self.frames[parent_at].fd = Some(Arc::new(parent));
        }
        self.frames.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_deeper_than_the_window_comes_back() {
        let temp = tempfile::tempdir().unwrap();
        let mut stack = DirStack::new(at::open_dir(temp.path()).unwrap()).unwrap();
        let mut ids = Vec::new();
        for _ in 0..3 * WINDOW {
            at::make_dir_at(stack.top(), b"d").unwrap();
            let child = at::open_dir_at(stack.top(), b"d").unwrap();
            ids.push(at::stat_fd(stack.top()).unwrap().ino);
            stack.push(child).unwrap();
            assert!(stack.frames.iter().filter(|frame| frame.fd.is_some()).count() <= WINDOW + 1);
        }
        for ino in ids.into_iter().rev() {
            stack.pop().unwrap();
            assert_eq!(at::stat_fd(stack.top()).unwrap().ino, ino);
        }
    }
}
