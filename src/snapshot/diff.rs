//! What a layer changed against its base, by path.
//!
//! Only touched directories are visited. A directory that was moved with all it holds is one addition and one deletion; what lies beneath
//! is told only where it changed too.

use super::SnapshotError;
use super::touched::touched;
use crate::format::{Ino, Kind, Name, NameBuf};
use crate::layer::{Body, FileContent, InodeRecord, NameRecord};
use crate::vfs::freeze::Records;
use crate::vfs::{Base, Fs, child_ino};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// How a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ChangeKind {
    /// The base doesn't have it.
    #[serde(rename = "A")]
    Added,
    /// Content, metadata or type differ.
    #[serde(rename = "M")]
    Modified,
    /// The base has it and the layer doesn't; for a directory, all beneath went too.
    #[serde(rename = "D")]
    Deleted,
}

/// A changed path, without a leading `/`, escaped where it isn't printable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Where; a directory ends in `/`.
    pub path: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Modified => 'M',
            ChangeKind::Deleted => 'D',
        };
        write!(f, "{letter} {}", self.path)
    }
}

struct Differ<'a> {
    base: &'a Base,
    records: &'a Records,
    touched: HashSet<Ino>,
    changes: Vec<Change>,
    /// Directories still to visit, with their paths.
    pending: Vec<(Ino, String)>,
}

/// All changes, sorted by path.
pub fn diff(fs: &Fs) -> Result<Vec<Change>, SnapshotError> {
    let records = fs.records()?;
    let base = fs.base();
    let touched = touched(base, &records)?;
    let mut differ = Differ { base, records: &records, touched, changes: Vec::new(), pending: Vec::new() };
    if let Some(root) = records.inodes.get(&Ino::ROOT)
        && attributes_differ(root, &clean(base, Ino::ROOT)?)
    {
        differ.changes.push(Change { kind: ChangeKind::Modified, path: "/".to_owned() });
    }
    differ.pending.push((Ino::ROOT, String::new()));
    while let Some((dir, path)) = differ.pending.pop() {
        if differ.touched.contains(&dir) {
            differ.visit(dir, &path)?;
        }
    }
    differ.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(differ.changes)
}

impl Differ<'_> {
    fn visit(&mut self, dir: Ino, path: &str) -> Result<(), SnapshotError> {
        let mut now: BTreeMap<NameBuf, Ino> = BTreeMap::new();
        let tree = self.base.tree(dir)?;
        for index in tree.iter().flat_map(|tree| 0..tree.len()) {
            if let Some(tree) = &tree {
                now.insert(tree.name(index).to_buf(), child_ino(tree, dir, index));
            }
        }
        let before = now.clone();
        for (name, record) in self.records.names.get(&dir).into_iter().flatten() {
            match record {
                NameRecord::Removed => now.remove(name),
                NameRecord::Child(child) => now.insert(name.clone(), child.ino),
            };
        }
        for (name, &ino) in before.iter().filter(|(name, _)| !now.contains_key(*name)) {
            self.push(ChangeKind::Deleted, path, name.as_name(), clean(self.base, ino)?.kind());
        }
        for (name, &ino) in &now {
            self.compare(path, name.as_name(), before.get(name).copied(), ino)?;
        }
        Ok(())
    }

    fn compare(&mut self, path: &str, name: Name<'_>, before: Option<Ino>, now: Ino) -> Result<(), SnapshotError> {
        let record = self.records.inodes.get(&now);
        let kind = match record {
            Some(record) => record.kind(),
            None => clean(self.base, now)?.kind(),
        };
        let change = match (before, record) {
            (None, _) => Some(ChangeKind::Added),
            (Some(before), _) if before != now => Some(ChangeKind::Modified),
            (Some(_), None) => None,
            (Some(before), Some(record)) => {
                attributes_differ(record, &clean(self.base, before)?).then_some(ChangeKind::Modified)
            }
        };
        if let Some(change) = change {
            self.push(change, path, name, kind);
        }
        if kind == Kind::Dir {
            self.pending.push((now, format!("{path}{name}/")));
        }
        Ok(())
    }

    fn push(&mut self, kind: ChangeKind, path: &str, name: Name<'_>, what: Kind) {
        let slash = if what == Kind::Dir { "/" } else { "" };
        self.changes.push(Change { kind, path: format!("{path}{name}{slash}") });
    }
}

fn clean(base: &Base, ino: Ino) -> Result<InodeRecord, SnapshotError> {
    match base.inode(ino)? {
        Some(inode) => Ok(inode.into_record()),
        None => Err(SnapshotError::Inconsistent { ino, what: "a name of nothing" }),
    }
}

/// Whether what a snapshot would keep differs: change and access times don't count.
fn attributes_differ(now: &InodeRecord, before: &InodeRecord) -> bool {
    let content = match (&now.body, &before.body) {
        (Body::Dir { .. }, Body::Dir { .. }) => false,
        (Body::File { content: FileContent::Blob(now), .. }, Body::File { content: FileContent::Blob(before), .. }) => {
            now != before
        }
        (now, before) => now != before,
    };
    content || now.meta != before.meta || now.nlink != before.nlink
}
