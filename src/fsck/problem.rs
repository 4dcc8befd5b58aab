//! What can be wrong with a layer, and what a check and a repair tell.

use super::Mending;
use crate::format::{Digest, Ino, NameBuf};
use crate::layer::{BlobRef, Body, DataId, InodeRecord, NameRecord, Recovered, Space};
use crate::vfs::VfsError;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is wrong. The names are stable: scripts may rely on them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The database, or a part of it, is gone or can't be read.
    DatabaseUnreadable,
    /// The database cuts bytes off its journal that no crash leaves there, or although the layer was closed in good order: changes are lost.
    JournalCut,
    /// The manifest that the layer stands on can't be read.
    BaseMissing,
    /// A tree of the base can't be read.
    BaseUnreadable,
    /// A key that is none of a record.
    BadKey,
    /// An inode record that can't be decoded.
    BadRecord,
    /// A name record that can't be decoded.
    BadName,
    /// A record of a number that neither the base nor the layer gave out.
    UnknownNumber,
    /// A new inode's number isn't below the mark of numbers given out, and might be given out again.
    UnreservedNumber,
    /// A name, or the entries of a directory, without an inode.
    MissingInode,
    /// A name in something that is no directory, or one that was removed.
    OrphanName,
    /// A name record tells another type than the inode has.
    KindDiffers,
    /// A name is recorded as removed that the base doesn't have.
    StrayRemoval,
    /// The sequence number of a name is another's too, or isn't below the mark of numbers given out.
    BadSequence,
    /// A directory has several names.
    DirectoryTwice,
    /// No name leads to the inode from the root.
    Unreachable,
    /// An inode of the base has another type in the layer.
    KindChanged,
    /// A directory's record tells another parent than the one that holds it.
    ParentDiffers,
    /// An inode's count of names is wrong.
    LinksDiffer,
    /// A directory's count of directories is wrong.
    SubdirsDiffer,
    /// An inode without names was left although the layer was closed in good order.
    Orphan,
    /// An access control list that the kernel refuses.
    BadAcl,
    /// The target of a symbolic link is empty, too long, or holds a NUL.
    BadTarget,
    /// The data file of a file isn't there: its content is lost, unless it has an origin.
    DataMissing,
    /// Something else than a file is where a data file should be.
    DataNotFile,
    /// Blocks of partial content that can't be decoded.
    BadBlocks,
    /// Blocks of a file whose content isn't partial.
    BlocksStray,
    /// A data file that no record names.
    DataStray,
    /// Something in the folder of data files that isn't named as one. A note, no damage.
    ForeignFile,
    /// A blob that the layer refers to isn't in the store.
    BlobMissing,
    /// A blob that the layer refers to hasn't the length or the bytes that it should have.
    BlobDamaged,
    /// The blob that a file was copied up from is damaged or not there; the copy is.
    OriginMissing,
}

impl Code {
    /// Whether it is told, but no damage.
    pub fn is_note(self) -> bool {
        self == Self::ForeignFile
    }

    /// In which order problems are mended: what is mended first may change what is wrong later.
    pub(super) fn stage(self) -> u8 {
        match self {
            Self::DatabaseUnreadable | Self::JournalCut | Self::BaseMissing | Self::BaseUnreadable => 0,
            Self::BadKey | Self::BadRecord | Self::BadName | Self::UnknownNumber | Self::UnreservedNumber => 1,
            Self::MissingInode => 2,
            Self::OrphanName | Self::KindDiffers | Self::StrayRemoval | Self::BadSequence => 3,
            Self::DirectoryTwice => 4,
            Self::Unreachable | Self::KindChanged | Self::BadTarget => 5,
            Self::ParentDiffers | Self::LinksDiffer | Self::SubdirsDiffer | Self::Orphan | Self::BadAcl => 6,
            Self::DataMissing | Self::DataNotFile | Self::DataStray | Self::ForeignFile => 7,
            Self::BadBlocks | Self::BlocksStray => 7,
            Self::BlobMissing | Self::BlobDamaged | Self::OriginMissing => 7,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A change that mends a problem.
#[derive(Clone, Debug)]
pub(super) enum Fix {
    PutInode(Ino, Box<InodeRecord>),
    RemoveInode(Ino),
    SetBody(Ino, Body),
    SetLinks(Ino, u32),
    SetParent(Ino, Ino),
    SetSubdirs(Ino, u32),
    RemoveXattr(Ino, Box<[u8]>),
    PutName(Ino, NameBuf, NameRecord),
    RemoveName(Ino, NameBuf),
    /// A new sequence number for a name.
    Resequence(Ino, NameBuf),
    RemoveKey(Space, Box<[u8]>),
    /// The blocks that were guessed are held.
    GuessBlocks(Box<[u8]>),
    /// No number below this is given out again.
    Reserve(u64),
    /// A name in `lost+found`.
    Reconnect(Ino),
    /// An empty data file.
    CreateFile(DataId),
    /// The data file goes to `lost/` in the layer's folder.
    SetAside(DataId),
    /// Opening the database does it.
    CutJournal,
}

/// A problem, with what mends it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) problem: Problem,
    /// Empty when nothing does.
    pub(super) fixes: Vec<Fix>,
}

/// A problem of a layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// Where, from the root of the mount; `None` where no path leads.
    pub path: Option<String>,
    /// The inode that it is about, if it is about one.
    pub ino: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What a repair does about it, or why it can do nothing.
    pub repair: String,
    /// Whether a repair does something about it.
    pub mendable: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code)?;
        match (&self.path, self.ino) {
            (Some(path), _) => write!(f, "{path}: ")?,
            (None, Some(ino)) => write!(f, "inode {ino}: ")?,
            (None, None) => {}
        }
        write!(f, "{}; repair: {}", self.what, self.repair)
    }
}

impl Found {
    pub(super) fn new(code: Code, what: impl Into<String>) -> Self {
        let problem =
            Problem { code, path: None, ino: None, what: what.into(), repair: String::new(), mendable: false };
        Self { problem, fixes: Vec::new() }
    }

    pub(super) fn at(mut self, path: Option<String>) -> Self {
        self.problem.path = path;
        self
    }

    pub(super) fn of(mut self, ino: Ino) -> Self {
        self.problem.ino = Some(ino.0);
        self
    }

    /// What mends it, in words and in changes.
    pub(super) fn mend(mut self, repair: impl Into<String>, fixes: impl IntoIterator<Item = Fix>) -> Self {
        self.problem.repair = repair.into();
        self.fixes = fixes.into_iter().collect();
        self.problem.mendable = !self.fixes.is_empty();
        self
    }

    pub(super) fn database(why: &str) -> Self {
        Self::new(Code::DatabaseUnreadable, why)
            .mend("none: the database is left as it is; go back to a snapshot, or to a backup of the layer", [])
    }

    pub(super) fn database_panic(index: &Path, panic: &str) -> Self {
        let what = format!("the database {} is damaged so that reading it fails: {panic}", index.display());
        Self::new(Code::DatabaseUnreadable, what)
            .mend("none: the database is left as it is; go back to a snapshot, or to a backup of the layer", [])
    }

    pub(super) fn base_missing(base: Digest, error: &VfsError) -> Self {
        let what = format!("the manifest {base} that the layer stands on can't be read: {error}");
        Self::new(Code::BaseMissing, what).mend("none: import its source again, then check again", [])
    }
}

/// What opening a layer will mend that wasn't closed in good order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Recovery {
    /// Whether the machine was started anew since the layer was open: content that wasn't synced may be lost.
    pub power_cut: bool,
    /// What will be done.
    #[serde(flatten)]
    pub will: Recovered,
}

/// What a check found, and a repair did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// What is wrong, as it was found.
    pub problems: Vec<Problem>,
    /// What is odd, but no damage.
    pub notes: Vec<Problem>,
    /// When the layer wasn't closed in good order: what its recovery does.
    pub recovery: Option<Recovery>,
    /// What a repair does, in this order; empty without a plan.
    pub actions: Vec<Problem>,
    /// What is wrong still after it.
    pub unmended: Vec<Problem>,
    /// Whether the actions were done, and the recovery too.
    pub repaired: bool,
    /// Where files were put that nothing named.
    pub set_aside: Vec<PathBuf>,
    /// Records that were checked.
    pub records: u64,
    /// How long it took.
    #[serde(rename = "duration_seconds", serialize_with = "crate::format::seconds")]
    pub duration: Duration,
}

impl Report {
    /// Whether nothing is wrong, or nothing any more. A layer that needs recovery isn't damaged.
    pub fn is_sound(&self) -> bool {
        self.left().is_empty()
    }

    /// What is wrong still, or would be without a repair.
    pub fn left(&self) -> &[Problem] {
        if self.repaired { &self.unmended } else { &self.problems }
    }

    pub(super) fn add(&mut self, found: Found) {
        let list = if found.problem.code.is_note() { &mut self.notes } else { &mut self.problems };
        list.push(found.problem);
    }

    pub(super) fn extend(&mut self, found: impl IntoIterator<Item = Found>) {
        found.into_iter().for_each(|found| self.add(found));
    }

    /// Nothing is planned, for what is wrong is nobody's to mend.
    pub(super) fn unplanned(&mut self, mending: Mending) {
        self.problems.iter_mut().for_each(|problem| problem.mendable = false);
        if mending != Mending::Off {
            self.unmended = self.problems.clone();
        }
    }

    pub(super) fn planned(&mut self, plan: &super::plan::Plan) {
        self.actions = plan.actions.clone();
        self.unmended = plan.unmended.clone();
    }

    pub(super) fn finished(mut self, started: Instant) -> Self {
        self.duration = started.elapsed();
        self
    }
}

/// A blob in words.
pub(super) fn blob_text(blob: &BlobRef) -> String {
    format!("blob {} of {} bytes", blob.digest.short(), blob.size)
}
