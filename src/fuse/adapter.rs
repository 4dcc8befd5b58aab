//! What serves a mount, and the words that its parts exchange. The kernel's requests arrive in [`super::requests`]; what they do is in the
//! `*_ops` modules.
//!
//! Locking: no lock of the adapter is held while the filesystem is called or a reply is sent.

use super::backing::Backings;
use super::control_dir::{self, ControlDir};
use super::errno::{Fault, Refusal};
use super::io_mode::OpenModes;
use super::meter::Meter;
use super::nodes::Nodes;
use super::running::Running;
use super::scout::{Scout, Sign};
use super::turns::Turns;
use crate::locks::Mutex;
use crate::vfs::{Fs, Ino, VfsError};
use fuser::{FileAttr, Notifier};
use std::sync::{Arc, OnceLock};

/// Serves one mount.
pub(super) struct Adapter {
    pub(super) fs: Arc<Fs>,
    /// The superblock is read-only.
    pub(super) read_only: bool,
    pub(super) control: Option<Arc<ControlDir>>,
    pub(super) nodes: Nodes,
    pub(super) modes: OpenModes,
    pub(super) running: Running,
    pub(super) backings: Backings,
    pub(super) meter: Meter,
    pub(super) turns: Turns,
    pub(super) scout: Arc<Scout>,
    /// Set once the session runs.
    pub(super) notifier: Arc<OnceLock<Notifier>>,
    /// Whether passthrough is wanted.
    pub(super) passthrough: bool,
    /// Opening a directory needs no request.
    pub(super) no_opendir: bool,
    /// What closing the filesystem said.
    pub(super) farewell: Arc<Mutex<Option<VfsError>>>,
}

/// What a node number stands for.
pub(super) enum Node<'a> {
    File(Ino),
    Control(&'a ControlDir, control_dir::Node),
}

/// An answer to a lookup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) attr: FileAttr,
    /// The attributes hold until the kernel changes them.
    pub(super) attr_keep: bool,
    /// So does the name.
    pub(super) entry_keep: bool,
}

impl Entry {
    pub(super) fn cached(attr: FileAttr) -> Self {
        Self { attr, attr_keep: true, entry_keep: true }
    }

    pub(super) fn uncached(attr: FileAttr) -> Self {
        Self { attr, attr_keep: false, entry_keep: false }
    }
}

impl Adapter {
    /// What a number in a request stands for.
    pub(super) fn node(&self, number: u64) -> Result<Node<'_>, Fault> {
        if let Some(control) = &self.control
            && let Some(node) = control.node(number)
        {
            return Ok(Node::Control(control, node));
        }
        Ok(Node::File(self.nodes.ino(number).ok_or(Refusal::Superseded)?))
    }

    /// A request was about names in a directory.
    pub(super) fn notice(&self, sign: Sign, dir: Ino) {
        self.scout.notice(sign, dir, &self.fs, self.meter.metrics());
    }

    /// The control directory, when `node` is in it.
    pub(super) fn control_of(&self, node: u64) -> Option<&Arc<ControlDir>> {
        self.control.as_ref().filter(|control| control.node(node).is_some())
    }

    /// The kernel forgets lookups of a node; with the last of an inode's, the filesystem may let go of it.
    pub(super) fn forget_node(&self, node: u64, lookups: u64) {
        if self.control_of(node).is_some() {
            return;
        }
        if let Some(ino) = self.nodes.forget(node, lookups) {
            self.backings.forget(ino);
            self.fs.forget(ino);
        }
    }
}
