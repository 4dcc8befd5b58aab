//! Names, numbers, structure and counts: each check looks at what was read and walked, and says what is wrong and what mends it. Pure.

use super::problem::{Code, Fix, Found};
use super::state::State;
use super::tree::{Census, Link};
use crate::format::{Ino, Kind, Meta, Mode, NameBuf, Timestamp};
use crate::layer::{Body, FileContent, InodeRecord, NameRecord};
use crate::vfs::acl::{ACCESS, Acl, DEFAULT};
use crate::vfs::{Base, BaseInode};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The longest target of a symbolic link (Linux `PATH_MAX`, less the NUL).
const TARGET_MAX: usize = 4095;
/// Numbers of new inodes, and sequences, beyond this were never given out.
const NUMBER_MAX: u64 = 1 << 40;

/// All checks.
pub(super) fn check(state: &State, base: &Base, census: &Census) -> Vec<Found> {
    let checks = Checks { state, base, census };
    let mut found = undecoded_keys(state);
    checks.journal(&mut found);
    checks.unreadable(&mut found);
    checks.bad_records(&mut found);
    checks.bad_names(&mut found);
    checks.numbers(&mut found);
    checks.name_records(&mut found);
    checks.sequences(&mut found);
    checks.inodes(&mut found);
    // What the root reaches isn't known without all of the base.
    if census.unreadable.is_empty() {
        checks.removals(&mut found);
        checks.orphan_names(&mut found);
        checks.dirs(&mut found);
        checks.links(&mut found);
        checks.unreachable(&mut found);
    }
    found
}

/// What can be said without the base.
pub(super) fn undecoded(state: &State) -> Vec<Found> {
    let mut found = undecoded_keys(state);
    let inodes = state.bad_inodes.iter().map(|(ino, why)| Found::new(Code::BadRecord, why.to_string()).of(*ino));
    let names = state
        .bad_names
        .iter()
        .map(|bad| Found::new(Code::BadName, format!("its name `{}`: {}", bad.name, bad.why)).of(bad.dir));
    found.extend(inodes.chain(names).map(|found| found.mend("none without the base", [])));
    found
}

fn undecoded_keys(state: &State) -> Vec<Found> {
    let told = |(space, key): &(_, Box<[u8]>)| {
        let what = format!("the key {} of {space:?} is none of a record", key.escape_ascii());
        Found::new(Code::BadKey, what).mend("remove it", [Fix::RemoveKey(*space, key.clone())])
    };
    state.bad_keys.iter().map(told).collect()
}

struct Checks<'a> {
    state: &'a State,
    base: &'a Base,
    census: &'a Census,
}

impl Checks<'_> {
    fn journal(&self, found: &mut Vec<Found>) {
        if self.state.journal_damaged || (self.state.closed && self.state.cut > 0) {
            let what =
                format!("{} bytes of its journal can't be read; what was changed in them is lost", self.state.cut);
            found.push(Found::new(Code::JournalCut, what).mend("they are cut off", [Fix::CutJournal]));
        } else if self.state.missing > 0 {
            let what = format!("{} changes that had happened are not in its journal any more", self.state.missing);
            found.push(Found::new(Code::JournalCut, what).mend("it goes on without them", [Fix::CutJournal]));
        }
    }

    fn unreadable(&self, found: &mut Vec<Found>) {
        for (dir, why) in &self.census.unreadable {
            let told = Found::new(Code::BaseUnreadable, format!("its entries in the base can't be read: {why}"));
            let repair =
                "none: import the base's source again, then check again; until then names and counts aren't checked";
            found.push(told.of(*dir).at(self.census.path(*dir)).mend(repair, []));
        }
    }

    fn bad_records(&self, found: &mut Vec<Found>) {
        let said: HashMap<Ino, Kind> = self.state.children().map(|(_, _, child)| (child.ino, child.kind)).collect();
        for (&ino, why) in &self.state.bad_inodes {
            let told = Found::new(Code::BadRecord, why.to_string()).of(ino).at(self.census.path(ino));
            let (repair, fix) = self.rebuild(ino, said.get(&ino).copied());
            found.push(told.mend(repair, [fix.unwrap_or(Fix::RemoveInode(ino))]));
        }
    }

    /// What can be had back of an inode without a record; `None`: nothing.
    fn rebuild(&self, ino: Ino, said: Option<Kind>) -> (String, Option<Fix>) {
        // What is only a part of the content must not pass for all of it.
        let file = self.state.newest_file(ino).filter(|id| !self.state.may_be_partial(*id));
        let data = file.map(|id| Body::File { generation: id.generation, content: FileContent::Data { origin: None } });
        let put = |record| Some(Fix::PutInode(ino, Box::new(record)));
        if let Ok(Some(inode)) = self.base.inode(ino) {
            let record = inode.into_record();
            return match data {
                Some(body) if record.kind() == Kind::File => (
                    "keep the content in its data file; all else as the base has it".into(),
                    put(InodeRecord { body, ..record }),
                ),
                _ => ("as the base has it; what was changed of it is lost".into(), Some(Fix::RemoveInode(ino))),
            };
        }
        let parent = self.census.names_of(ino).first().map_or(Ino::ROOT, |(parent, _)| *parent);
        if said == Some(Kind::Dir) || (said.is_none() && self.state.names.contains_key(&ino)) {
            let body = Body::Dir { parent, subdirs: self.census.subdirs(ino).unwrap_or(0) };
            return (
                "a directory of root's with the entries that it has; its mode and owner are lost".into(),
                put(new_record(0o700, body)),
            );
        }
        match data.filter(|_| said.is_none_or(|kind| kind == Kind::File)) {
            Some(body) => (
                "a file of root's with the content of its data file; its mode and owner are lost".into(),
                put(new_record(0o600, body)),
            ),
            None => ("remove it; nothing of it is to be had back".into(), None),
        }
    }

    /// A name that can't be decoded is as the base has it, and what it meant is found by its inode.
    fn bad_names(&self, found: &mut Vec<Found>) {
        for bad in &self.state.bad_names {
            let told = Found::new(Code::BadName, bad.why.to_string())
                .of(bad.dir)
                .at(self.census.path_of_name(bad.dir, &bad.name));
            let in_base = matches!(self.base.child(bad.dir, bad.name.as_name()), Ok(Some(_)));
            let repair = if in_base { "the name is as the base has it" } else { "remove the name" };
            found.push(told.mend(repair, [Fix::RemoveName(bad.dir, bad.name.clone())]));
        }
    }

    fn numbers(&self, found: &mut Vec<Found>) {
        let mut highest = 0;
        for &ino in self.state.inodes.keys().chain(self.state.bad_inodes.keys()) {
            let number = ino.0.checked_sub(Ino::NEW.0);
            let known = match number {
                Some(number) => number < NUMBER_MAX,
                None => !matches!(self.base.inode(ino), Ok(None)),
            };
            if !known {
                let told = Found::new(Code::UnknownNumber, "neither the base nor the layer gave out its number");
                found.push(told.of(ino).at(self.census.path(ino)).mend("remove the record", [Fix::RemoveInode(ino)]));
            } else if number.is_some_and(|number| number >= self.state.reserved) {
                highest = highest.max(number.unwrap_or(0));
                let told = Found::new(
                    Code::UnreservedNumber,
                    format!("its number isn't below the mark {}", self.state.reserved),
                );
                found.push(told.of(ino).at(self.census.path(ino)).mend("raise the mark", []));
            }
        }
        for told in found.iter_mut().filter(|told| told.problem.code == Code::UnreservedNumber) {
            told.fixes = vec![Fix::Reserve(highest + 1)];
        }
    }

    /// Every name's inode, and its type.
    fn name_records(&self, found: &mut Vec<Found>) {
        for (dir, name, child) in self.state.children() {
            let path = || self.census.path_of_name(dir, name);
            if !self.state.has(self.base, child.ino) {
                let told = Found::new(
                    Code::MissingInode,
                    format!("the name `{name}` means inode {}, which isn't there", child.ino.0),
                );
                let told = told.of(child.ino).at(path());
                let told = match self.rebuild_new(child.ino, Some(child.kind)) {
                    (repair, Some(fix)) => told.mend(repair, [fix]),
                    (_, None) => {
                        told.mend("remove the name; nothing of the inode is to be had back", [self.gone(dir, name)])
                    }
                };
                found.push(told);
            } else if let Some(kind) = self.state.kind(self.base, child.ino).filter(|kind| *kind != child.kind) {
                let what = format!("its name tells a {}, its inode a {}", child.kind.as_str(), kind.as_str());
                let right = NameRecord::Child(crate::layer::Child { kind, ..child });
                let fix = Fix::PutName(dir, name.clone(), right);
                found.push(
                    Found::new(Code::KindDiffers, what).of(child.ino).at(path()).mend("the inode is right", [fix]),
                );
            }
        }
    }

    fn rebuild_new(&self, ino: Ino, said: Option<Kind>) -> (String, Option<Fix>) {
        let number = ino.0.checked_sub(Ino::NEW.0);
        if number.is_some_and(|number| number < NUMBER_MAX) { self.rebuild(ino, said) } else { (String::new(), None) }
    }

    /// Takes a name out of a directory, whether the base has it or not.
    fn gone(&self, dir: Ino, name: &NameBuf) -> Fix {
        match self.base.child(dir, name.as_name()) {
            Ok(Some(_)) => Fix::PutName(dir, name.clone(), NameRecord::Removed),
            _ => Fix::RemoveName(dir, name.clone()),
        }
    }

    fn sequences(&self, found: &mut Vec<Found>) {
        let mut seen: HashMap<u64, Link> = HashMap::new();
        for (dir, name, child) in self.state.children() {
            let sequence = child.sequence;
            let what = match seen.get(&sequence) {
                Some((_, other)) => format!("its sequence number {sequence} is also that of `{other}`"),
                None if sequence >= self.state.reserved => {
                    format!("its sequence number {sequence} isn't below the mark {}", self.state.reserved)
                }
                None => {
                    seen.insert(sequence, (dir, name.clone()));
                    continue;
                }
            };
            let told = Found::new(Code::BadSequence, what).of(child.ino).at(self.census.path_of_name(dir, name));
            found.push(told.mend("a new number", [Fix::Resequence(dir, name.clone())]));
        }
    }

    fn removals(&self, found: &mut Vec<Found>) {
        for (dir, name) in &self.census.stray_removals {
            let told = Found::new(
                Code::StrayRemoval,
                format!("the name `{name}` is recorded as removed, but the base doesn't have it"),
            );
            let told = told.of(*dir).at(self.census.path_of_name(*dir, name));
            found.push(told.mend("remove the record", [Fix::RemoveName(*dir, name.clone())]));
        }
    }

    /// Names in what isn't a directory, or not one that is anywhere.
    fn orphan_names(&self, found: &mut Vec<Found>) {
        for (&dir, names) in &self.state.names {
            if self.census.is_walked(dir) || self.state.bad_inodes.contains_key(&dir) {
                continue;
            }
            let has_children = names.values().any(|record| matches!(record, NameRecord::Child(_)));
            if has_children
                && !self.state.has(self.base, dir)
                && let (repair, Some(fix)) = self.rebuild_new(dir, Some(Kind::Dir))
            {
                let what = format!("{} names are in it, but it isn't there", names.len());
                found.push(Found::new(Code::MissingInode, what).of(dir).mend(repair, [fix]));
                continue;
            }
            for name in names.keys() {
                let what = format!("the name `{name}` is in what is no directory, or was removed");
                let fix = Fix::RemoveName(dir, name.clone());
                found.push(Found::new(Code::OrphanName, what).of(dir).mend("remove the name", [fix]));
            }
        }
    }

    /// Directories of which the layer says something: one name, the parent that it tells, and the count of directories in it.
    fn dirs(&self, found: &mut Vec<Found>) {
        let targets = self.state.children().map(|(_, _, child)| child.ino);
        let dirs: BTreeSet<Ino> =
            self.state.inodes.keys().copied().chain(targets).chain(self.state.names.keys().copied()).collect();
        for ino in dirs {
            let Some(counted) = self.census.subdirs(ino) else { continue };
            let Some(record) = self.state.record(self.base, ino) else { continue };
            let Body::Dir { parent, subdirs } = record.body else { continue };
            let told = |code, what: String| Found::new(code, what).of(ino).at(self.census.path(ino));
            self.dir_names(ino, parent, found);
            let links = self.census.names_of(ino);
            if let [(holder, _)] = links
                && *holder != parent
            {
                let what = format!("its record tells directory {} as its parent, and it is in {}", parent.0, holder.0);
                found.push(told(Code::ParentDiffers, what).mend("as it is", [Fix::SetParent(ino, *holder)]));
            }
            if record.nlink != 1 && (ino == Ino::ROOT || !links.is_empty()) {
                let what = format!("its record tells {} names, and a directory has one", record.nlink);
                found.push(told(Code::LinksDiffer, what).mend("as it is", [Fix::SetLinks(ino, 1)]));
            }
            if subdirs != counted {
                let what = format!("its record tells {subdirs} directories in it, and there are {counted}");
                found.push(told(Code::SubdirsDiffer, what).mend("as counted", [Fix::SetSubdirs(ino, counted)]));
            }
        }
    }

    /// A directory has one name, the root none: that of the parent that it tells is kept, else one that the root reaches.
    fn dir_names(&self, ino: Ino, parent: Ino, found: &mut Vec<Found>) {
        let links = self.census.names_of(ino);
        let by_parent = links.iter().position(|(holder, _)| *holder == parent);
        let reached = || links.iter().position(|(holder, _)| self.census.dirs.contains_key(holder));
        let keep = if ino == Ino::ROOT { None } else { by_parent.or_else(reached).or(Some(0)) };
        for (index, (dir, name)) in links.iter().enumerate() {
            if Some(index) != keep {
                let what = format!("directory {} has the name `{name}` too", ino.0);
                let told = Found::new(Code::DirectoryTwice, what).of(ino).at(self.census.path_of_name(*dir, name));
                found.push(told.mend("remove this name", [self.gone(*dir, name)]));
            }
        }
    }

    /// Counts of names of all but directories.
    fn links(&self, found: &mut Vec<Found>) {
        let by_ino: BTreeMap<Ino, usize> = self.census.names.iter().map(|(ino, links)| (*ino, links.len())).collect();
        for (ino, count) in by_ino {
            let Some(record) = self.state.record(self.base, ino) else { continue };
            if record.kind() != Kind::Dir && record.nlink as usize != count {
                let what = format!("its record tells {} names, and it has {count}", record.nlink);
                let told = Found::new(Code::LinksDiffer, what).of(ino).at(self.census.path(ino));
                found.push(told.mend("as counted", [Fix::SetLinks(ino, count as u32)]));
            }
        }
    }

    fn unreachable(&self, found: &mut Vec<Found>) {
        for &ino in &self.census.tops {
            let circle = self.census.circles.contains(&ino);
            let what = if circle { "a directory that is inside itself" } else { "a directory that no name leads to" };
            found.push(reconnect(ino, what));
        }
        for (&ino, record) in &self.state.inodes {
            if record.kind() != Kind::Dir && !record.is_unnamed() && self.census.names_of(ino).is_empty() {
                found.push(reconnect(ino, &format!("a {} that no name leads to", record.kind().as_str())));
            }
        }
    }

    /// Each inode by itself, against the base.
    fn inodes(&self, found: &mut Vec<Found>) {
        for (&ino, record) in &self.state.inodes {
            let told = |code, what: String| Found::new(code, what).of(ino).at(self.census.path(ino));
            let named = !self.census.names_of(ino).is_empty();
            let inode = self.base.inode(ino).ok().flatten();
            let in_base = inode.map(BaseInode::into_record);
            if record.is_unnamed() && !named && ino != Ino::ROOT {
                self.unnamed(ino, record, found);
                continue;
            }
            if let Some(clean) = &in_base
                && clean.kind() != record.kind()
            {
                let what =
                    format!("a {} in the base, a {} in the layer", clean.kind().as_str(), record.kind().as_str());
                found.push(told(Code::KindChanged, what).mend("as the base has it", [Fix::RemoveInode(ino)]));
                continue;
            }
            if let Body::Symlink(target) = &record.body
                && (target.is_empty() || target.len() > TARGET_MAX || target.contains(&0))
            {
                let repair = if in_base.is_some() { "as the base has it" } else { "remove it" };
                let what = format!("a symbolic link with a target of {} bytes that can't be one", target.len());
                found.push(told(Code::BadTarget, what).mend(repair, [Fix::RemoveInode(ino)]));
            }
            for list in [ACCESS, DEFAULT] {
                let value = record.meta.xattrs.get(list);
                let from_base = in_base.as_ref().and_then(|clean| clean.meta.xattrs.get(list));
                if let Some(value) = value
                    && Some(value) != from_base
                    && Acl::parse(value).is_err()
                {
                    let what = format!("its attribute {} is no valid access control list", list.escape_ascii());
                    found.push(
                        told(Code::BadAcl, what).mend("remove the attribute", [Fix::RemoveXattr(ino, list.into())]),
                    );
                }
            }
        }
    }

    /// An inode without names: reclaimed by recovery, buried when the base has a table of it.
    fn unnamed(&self, ino: Ino, record: &InodeRecord, found: &mut Vec<Found>) {
        let buried = ino.is_linked_range() && *record == record.clone().tombstone();
        if buried || !self.state.closed {
            return;
        }
        let fix = if ino.is_linked_range() {
            Fix::PutInode(ino, Box::new(record.clone().tombstone()))
        } else {
            Fix::RemoveInode(ino)
        };
        let what = "it has no names, and the layer was closed without reclaiming it";
        found.push(Found::new(Code::Orphan, what).of(ino).mend("remove the record; its data file is set aside", [fix]));
    }
}

fn reconnect(ino: Ino, what: &str) -> Found {
    let repair = format!("name it lost+found/#{}", ino.0);
    Found::new(Code::Unreachable, what).of(ino).mend(repair, [Fix::Reconnect(ino)])
}

/// A record of root's, made now.
pub(super) fn new_record(mode: u32, body: Body) -> InodeRecord {
    let now = Timestamp::now();
    let meta = Meta { mode: Mode::from_bits(mode), mtime: now, ..Meta::default() };
    InodeRecord { meta, nlink: 1, atime: now, ctime: now, body }
}
