//! Listing directories, with and without attributes.

use super::adapter::{Adapter, Node};
use super::control_dir::ControlDir;
use super::convert;
use super::errno::{Fault, Refusal};
use super::scout::Sign;
use crate::vfs::{Ino, Listed};
use fuser::{FileAttr, FileType, INodeNo};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// One line of a listing, as the kernel is told it.
pub(super) struct Line<'a> {
    pub(super) number: INodeNo,
    pub(super) kind: FileType,
    pub(super) name: &'a OsStr,
    pub(super) cookie: u64,
    /// Attributes and how long they hold, when they were asked for.
    pub(super) attr: Option<(FileAttr, Duration)>,
}

impl Adapter {
    /// Lists from after `cookie`, until `push` returns false because the reply is full. With `attrs`, each line counts as a lookup.
    pub(super) fn list(
        &self,
        node: u64,
        cookie: u64,
        attrs: bool,
        push: &mut dyn FnMut(Line<'_>) -> bool,
    ) -> Result<(), Fault> {
        match self.node(node)? {
            Node::Control(control, node) => {
                control.list(node, cookie, &mut |attr, name, cookie| {
                    let attr_shown = attrs.then_some((attr, Duration::ZERO));
                    push(Line {
                        number: attr.ino,
                        kind: attr.kind,
                        name: OsStr::from_bytes(name),
                        cookie,
                        attr: attr_shown,
                    })
                });
                Ok(())
            }
            Node::File(ino) => self.list_dir(node, ino, cookie, attrs, push),
        }
    }

    fn list_dir(
        &self,
        node: u64,
        ino: Ino,
        cookie: u64,
        attrs: bool,
        push: &mut dyn FnMut(Line<'_>) -> bool,
    ) -> Result<(), Fault> {
        if cookie == 0 {
            self.notice(Sign::Listing, ino);
        }
        let (mut fault, mut left_over) = (None, None);
        self.fs.read_dir(ino, cookie, attrs, &mut |listed| {
            if self.control.is_some() && ControlDir::is_at(node, listed.name) {
                return true;
            }
            let going_on = if attrs { self.push_plus(&listed, push, &mut left_over) } else { Ok(push(plain(&listed))) };
            going_on.unwrap_or_else(|refusal| {
                fault = Some(refusal.into());
                false
            })
        })?;
        // Only now, for the filesystem holds its locks while it lists.
        if let Some(node) = left_over {
            self.forget_node(node, 1);
        }
        fault.map_or(Ok(()), Err)
    }

    /// `left_over`: a node that was counted, but for which the reply had no room.
    fn push_plus(
        &self,
        listed: &Listed<'_>,
        push: &mut dyn FnMut(Line<'_>) -> bool,
        left_over: &mut Option<u64>,
    ) -> Result<bool, Refusal> {
        let line = plain(listed);
        // The kernel takes no attributes of these two, and doesn't count them.
        if matches!(listed.name, b"." | b"..") {
            let attr = FileAttr { ino: line.number, kind: line.kind, ..convert::absent() };
            return Ok(push(Line { attr: Some((attr, Duration::ZERO)), ..line }));
        }
        let published = self.nodes.publish_listed(listed.ino);
        let (shown, keep) = match &listed.attr {
            Some(attr) if !published.alias => (convert::file_attr(attr, published.node), convert::FOREVER),
            Some(attr) => (convert::file_attr(attr, published.node), Duration::ZERO),
            // Damaged: its number and type are all that is known, and who asks for more gets the error.
            None => (FileAttr { ino: INodeNo(published.node), kind: line.kind, ..convert::absent() }, Duration::ZERO),
        };
        let taken = push(Line { attr: Some((shown, keep)), ..line });
        if !taken {
            *left_over = Some(published.node);
        }
        Ok(taken)
    }
}

fn plain<'a>(listed: &Listed<'a>) -> Line<'a> {
    Line {
        number: INodeNo(listed.ino.0),
        kind: convert::file_type(listed.kind),
        name: OsStr::from_bytes(listed.name),
        cookie: listed.cookie,
        attr: None,
    }
}
