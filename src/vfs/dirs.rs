//! Directory listings.
//!
//! Cookies: 1 is `.`, 2 is `..`; 3 and up are the base tree's entries by index; from [`ADDED`] up, the entries that the layer made, by
//! their sequence. An entry keeps its cookie as long as it lives, whatever comes and goes beside it.

use super::error::Result;
use super::types::Listed;
use super::{Attr, Fs, Upper, child_ino};
use crate::format::{Ino, Kind, Tree};
use crate::layer::{Body, InodeRecord, NameRecord};
use std::collections::HashSet;
use std::sync::Arc;

const FIRST_BASE: u64 = 3;
const ADDED: u64 = 1 << 40;

/// What the layer says of one directory's names.
#[derive(Debug, Default)]
pub(super) struct DirView {
    /// Names whose base entry doesn't count.
    changed: HashSet<Box<[u8]>>,
    /// Entries made by the layer, by sequence.
    added: Vec<Added>,
}

#[derive(Debug)]
struct Added {
    sequence: u64,
    name: Box<[u8]>,
    ino: Ino,
    kind: Kind,
}

impl Upper {
    fn view(&self, dir: Ino) -> Result<Arc<DirView>> {
        if let Some(view) = self.views.lock().get(&dir) {
            return Ok(view.clone());
        }
        let mut view = DirView::default();
        self.layer.db().each_name_of(dir, |name, record| {
            view.changed.insert(name.into());
            if let NameRecord::Child(child) = record {
                view.added.push(Added {
                    sequence: child.sequence,
                    name: name.into(),
                    ino: child.ino,
                    kind: child.kind,
                });
            }
        })?;
        view.added.sort_unstable_by_key(|added| added.sequence);
        let view = Arc::new(view);
        self.views.lock().put(dir, view.clone());
        Ok(view)
    }
}

impl Fs {
    /// Lists from after `cookie` (0: from the start) until `each` returns false. With `attrs`, each entry has its attributes.
    pub fn read_dir(&self, dir: Ino, cookie: u64, attrs: bool, each: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let _guard = self.read_lock();
        let record = self.live_dir(dir)?;
        let parent = match record.body {
            Body::Dir { parent, .. } => parent,
            _ => dir,
        };
        for (at, name, ino) in [(1, &b"."[..], dir), (2, &b".."[..], parent)] {
            if cookie < at && !each(Listed { name, ino, kind: Kind::Dir, cookie: at, attr: None }) {
                return Ok(());
            }
        }
        let view = match &self.upper {
            Some(upper) => upper.view(dir)?,
            None => Arc::default(),
        };
        if cookie < ADDED
            && let Some(tree) = self.base.tree(dir)?
            && !self.list_base(dir, &tree, &view, cookie, attrs, each)?
        {
            return Ok(());
        }
        self.list_added(&view, cookie, attrs, each)
    }

    /// Returns whether there is room for more.
    fn list_base(
        &self,
        dir: Ino,
        tree: &Tree,
        view: &DirView,
        cookie: u64,
        attrs: bool,
        each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Result<bool> {
        let first = usize::try_from((cookie + 1).saturating_sub(FIRST_BASE)).unwrap_or(usize::MAX);
        for index in first..tree.len() {
            let name = tree.name(index).as_bytes();
            if view.changed.contains(name) {
                continue;
            }
            let ino = child_ino(tree, dir, index);
            let attr = if attrs { self.listed_attr(ino, || self.record_in(ino, (dir, tree), index)) } else { None };
            let kind = match &attr {
                Some(attr) => attr.kind,
                None => self.base.kind(tree, index).unwrap_or(Kind::File),
            };
            if !each(Listed { name, ino, kind, cookie: FIRST_BASE + index as u64, attr }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn list_added(
        &self,
        view: &DirView,
        cookie: u64,
        attrs: bool,
        each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Result<()> {
        let first = view.added.partition_point(|added| ADDED + added.sequence <= cookie);
        for added in &view.added[first..] {
            let attr = if attrs { self.listed_attr(added.ino, || self.record(added.ino)) } else { None };
            let cookie = ADDED + added.sequence;
            if !each(Listed { name: &added.name, ino: added.ino, kind: added.kind, cookie, attr }) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One damaged inode doesn't make its directory unlistable: asking for its attributes fails, and says why.
    fn listed_attr(&self, ino: Ino, record: impl FnOnce() -> Result<InodeRecord>) -> Option<Attr> {
        let attr = record().and_then(|record| self.attr_of(ino, &record));
        attr.inspect_err(|error| tracing::warn!(ino = ino.0, %error, "an entry is listed without attributes")).ok()
    }
}
