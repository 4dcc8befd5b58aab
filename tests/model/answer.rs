//! What a filesystem answered, and whether it is what the model expects.

use super::fail::Fail;
use super::op::Node;
use super::posix::{Body, Id, Inode, Stamp};
use std::collections::BTreeSet;

/// What the model says of an inode.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub id: Id,
    pub inode: &'a Inode,
    pub nlink: u32,
}

/// What must be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    Done,
    Fails(Fail),
    /// The attributes of this inode.
    Stat(Id),
    Bytes(Vec<u8>),
    Count(u64),
    /// These names, each once.
    Names(BTreeSet<String>),
    /// Each of `must` once, and otherwise only what `may` be there.
    Listed {
        must: BTreeSet<String>,
        may: BTreeSet<String>,
    },
    /// The next data of this content at or after the offset: what is passed over may only be zeros.
    Data(u64, Vec<u8>),
    /// The next hole, which may only be zeros, or the end.
    Hole(u64, Vec<u8>),
    /// The model's tree, and what is open.
    Tree,
    /// The model's tree.
    Snapshot,
    /// Not specified.
    Anything,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Dir,
    Symlink,
    Node(Node),
}

/// Seconds and nanoseconds.
pub type Moment = (i64, u32);

/// What stat says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub ino: u64,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub size: u64,
    pub atime: Moment,
    pub mtime: Moment,
    pub ctime: Moment,
}

/// What was answered.
#[derive(Clone, Debug)]
pub enum Got {
    Done,
    Stat(Seen),
    Bytes(Vec<u8>),
    Count(u64),
    Names(Vec<String>),
    Offset(u64),
    Tree(super::tree::Tree),
    /// The machine has no such thing.
    Skipped,
}

impl Expect {
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::Fails(_))
    }
}

impl Inode {
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::Dir { .. } => Kind::Dir,
            Body::File(_) => Kind::Node(Node::File),
            Body::Symlink(_) => Kind::Symlink,
            Body::Node(node) => Kind::Node(node),
        }
    }

    /// Length; a directory's isn't specified.
    pub fn size(&self) -> Option<u64> {
        match &self.body {
            Body::Dir { .. } => None,
            Body::File(bytes) => Some(bytes.len() as u64),
            Body::Symlink(length) => Some(*length as u64),
            Body::Node(_) => Some(0),
        }
    }
}

fn differ<T: std::fmt::Debug + PartialEq>(what: &str, expected: T, found: T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}

impl View<'_> {
    /// Holds what stat says to the model. Of times only those that were set to a value can be told here.
    pub fn check(&self, seen: &Seen) -> Result<(), String> {
        differ("type", self.inode.kind(), seen.kind)?;
        differ("nlink", self.nlink, seen.nlink)?;
        differ("owner", (self.inode.uid, self.inode.gid), (seen.uid, seen.gid))?;
        if format!("{:o}", self.inode.mode) != format!("{:o}", seen.mode) {
            return Err(format!("mode is {:o}, not {:o}", seen.mode, self.inode.mode));
        }
        if let Some(size) = self.inode.size() {
            differ("size", size, seen.size)?;
        }
        let times = [("atime", self.inode.atime, seen.atime), ("mtime", self.inode.mtime, seen.mtime)];
        for (what, stamp, found) in times {
            if let Stamp::To(secs, nanos) = stamp {
                differ(what, (secs, nanos), found)?;
            }
        }
        Ok(())
    }
}

/// Whether `got` is what the model expects; trees and attributes are compared by who has the model.
pub fn check(expect: &Expect, got: &Result<Got, Fail>) -> Result<(), String> {
    match (expect, got) {
        (Expect::Fails(expected), Err(fail)) if expected == fail => Ok(()),
        (Expect::Done, Ok(Got::Done)) | (Expect::Anything, _) => Ok(()),
        (Expect::Snapshot | Expect::Tree | Expect::Stat(_), Ok(_)) => Ok(()),
        (Expect::Bytes(expected), Ok(Got::Bytes(found))) if expected == found => Ok(()),
        (Expect::Bytes(expected), Ok(Got::Bytes(found))) => Err(bytes_differ(expected, found)),
        (Expect::Count(expected), Ok(Got::Count(found))) => differ("the count", *expected, *found),
        (Expect::Names(names), Ok(Got::Names(found))) => listed(names, &BTreeSet::new(), found),
        (Expect::Listed { must, may }, Ok(Got::Names(found))) => listed(must, may, found),
        (Expect::Data(from, bytes), Ok(Got::Offset(at))) => data_at(*from, bytes, *at),
        // Zeros to the end may be a hole.
        (Expect::Data(from, bytes), Err(Fail::NoData)) if bytes[*from as usize..].iter().all(|&byte| byte == 0) => {
            Ok(())
        }
        (Expect::Hole(from, bytes), Ok(Got::Offset(at))) => hole_at(*from, bytes, *at),
        _ => Err(format!("answered {}, not {}", brief(got), brief(expect))),
    }
}

fn brief(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(300) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The first difference of two contents, in words.
pub fn bytes_differ(expected: &[u8], found: &[u8]) -> String {
    let at = expected.iter().zip(found).position(|(a, b)| a != b);
    let at = at.unwrap_or(expected.len().min(found.len()));
    format!(
        "{} bytes, not {}; at {at} there is {:?}, not {:?}",
        found.len(),
        expected.len(),
        found.get(at),
        expected.get(at)
    )
}

fn listed(must: &BTreeSet<String>, may: &BTreeSet<String>, found: &[String]) -> Result<(), String> {
    for name in must {
        let times = found.iter().filter(|found| *found == name).count();
        if times != 1 {
            return Err(format!("{name:?} is listed {times} times: {found:?}"));
        }
    }
    match found.iter().find(|name| !must.contains(*name) && !may.contains(*name)) {
        Some(name) => Err(format!("{name:?} is listed, which isn't there: {found:?}")),
        None => Ok(()),
    }
}

fn data_at(from: u64, bytes: &[u8], at: u64) -> Result<(), String> {
    let over = (from <= at).then(|| bytes.get(from as usize..at as usize)).flatten();
    match over {
        Some(over) if over.iter().all(|&byte| byte == 0) && (at as usize) < bytes.len() => Ok(()),
        _ => Err(format!("data is found at {at} from {from} on, of {} bytes", bytes.len())),
    }
}

fn hole_at(from: u64, bytes: &[u8], at: u64) -> Result<(), String> {
    let is_zero = bytes.get(at as usize).is_none_or(|&byte| byte == 0);
    if from <= at && at as usize <= bytes.len() && is_zero {
        Ok(())
    } else {
        Err(format!("a hole is found at {at} from {from} on, of {} bytes", bytes.len()))
    }
}
