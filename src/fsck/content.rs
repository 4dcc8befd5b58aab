//! Data files and blobs: whether the content that records name is there. Facts about blobs are gathered once, in parallel; the rest is pure.

use super::pool;
use super::problem::{Code, Fix, Found, blob_text};
use super::state::State;
use super::tree::Census;
use super::{Host, Progress};
use crate::format::Ino;
use crate::layer::{BlobRef, Body, CHUNK_BLOCKS, DataId, FileContent, InodeRecord, Space};
use crate::store::{Store, StoreError};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is wrong with each blob that was looked at; `None`: nothing.
#[derive(Default)]
pub(super) struct Blobs {
    known: HashMap<BlobRef, Option<Wrong>>,
}

#[derive(Clone)]
enum Wrong {
    Missing,
    Damaged(String),
}

impl Blobs {
    /// Looks at the blobs that `state` refers to and that weren't looked at yet.
    pub(super) fn learn(&mut self, state: &State, store: &Store, hash: bool, host: &dyn Host) {
        let blobs = state.inodes.values().filter_map(|record| blob_of(record).map(|(blob, _)| blob));
        let mut new: Vec<BlobRef> = blobs.filter(|blob| !self.known.contains_key(blob)).collect();
        new.sort_unstable_by_key(|blob| (blob.digest, blob.size));
        new.dedup();
        let done = AtomicU64::new(0);
        let found = pool::map(&new, |blob| {
            let wrong = look_at(store, blob, hash);
            host.progress(Progress::Blobs { done: done.fetch_add(1, Ordering::Relaxed) + 1, total: new.len() as u64 });
            wrong
        });
        self.known.extend(new.into_iter().zip(found));
    }

    fn wrong(&self, blob: &BlobRef) -> Option<&Wrong> {
        self.known.get(blob).and_then(Option::as_ref)
    }
}

fn look_at(store: &Store, blob: &BlobRef, hash: bool) -> Option<Wrong> {
    let size = match store.object_stat(blob.digest) {
        Ok(Some(stat)) => stat.size,
        // It may be in the trash, from where a reader gets it back.
        Ok(None) => match store.peek_object(blob.digest) {
            Ok(bytes) => bytes.len() as u64,
            Err(StoreError::MissingObject { .. }) => return Some(Wrong::Missing),
            Err(error) => return Some(Wrong::Damaged(error.to_string())),
        },
        Err(error) => return Some(Wrong::Damaged(error.to_string())),
    };
    if size != blob.size {
        return Some(Wrong::Damaged(format!("it has {size} bytes")));
    }
    let verified = if hash { store.verify_object(blob.digest) } else { Ok(()) };
    verified.err().map(|error| Wrong::Damaged(error.to_string()))
}

/// The blob that a file has or came from, and whether it is all that the file has.
fn blob_of(record: &InodeRecord) -> Option<(BlobRef, bool)> {
    match record.body {
        Body::File { content: FileContent::Blob(blob), .. } => Some((blob, true)),
        Body::File { content: FileContent::Partial(partial), .. } => Some((partial.blob, true)),
        Body::File { content: FileContent::Data { origin: Some(blob) }, .. } => Some((blob, false)),
        _ => None,
    }
}

/// Content of every file that has a name, and data files that nothing names.
pub(super) fn check(state: &State, census: &Census, blobs: &Blobs) -> Vec<Found> {
    let mut found = Vec::new();
    for (&ino, record) in state.inodes.iter().filter(|(_, record)| !record.is_unnamed()) {
        let told = |code, what: String| Found::new(code, what).of(ino).at(census.path(ino));
        let blob = blob_of(record);
        if let Some((blob, is_content)) = blob
            && let Some(wrong) = blobs.wrong(&blob)
        {
            found.push(blob_problem(&told, (ino, record), &blob, is_content, wrong));
        }
        if let Some(generation) = record.data_generation() {
            let origin = blob.map(|(blob, _)| blob).filter(|blob| blobs.wrong(blob).is_none());
            found.extend(data_problem(&told, state, DataId { ino, generation }, origin));
        }
    }
    check_blocks(state, census, &mut found);
    if state.closed {
        for id in strays(state) {
            let what = format!("no record names the data file {}", file_text(id));
            let told = Found::new(Code::DataStray, what).of(id.ino).at(census.path(id.ino));
            found.push(told.mend("move it to lost/ in the layer's folder", [Fix::SetAside(id)]));
        }
    }
    found.extend(state.foreign.iter().map(|path| {
        let what = format!("{} isn't named as data files are", path.display());
        Found::new(Code::ForeignFile, what).mend("none: it is left alone", [])
    }));
    found
}

/// Blocks that files hold of partial content.
fn check_blocks(state: &State, census: &Census, found: &mut Vec<Found>) {
    for (key, blocks) in &state.chunks {
        let remove = || [Fix::RemoveKey(Space::Meta, key.clone())];
        let Some((id, number)) = blocks.of else {
            let told = Found::new(Code::BadKey, format!("the key {} is none of blocks", key.escape_ascii()));
            found.push(told.mend("remove it", remove()));
            continue;
        };
        let told = |code, what: String| Found::new(code, what).of(id.ino).at(census.path(id.ino));
        let record = state.inodes.get(&id.ino);
        let is_partial =
            record.and_then(InodeRecord::partial).is_some_and(|(generation, _)| generation == id.generation);
        match &blocks.chunk {
            // Recovery forgets them, and a record that can't be read may be of them.
            _ if !is_partial && (!state.closed || state.bad_inodes.contains_key(&id.ino)) => {}
            _ if !is_partial => {
                let what =
                    format!("blocks are told of its data file {}, which is no part of its content", file_text(id));
                found.push(told(Code::BlocksStray, what).mend("forget them", remove()));
            }
            Err(why) => {
                let what =
                    format!("which blocks from {} on its data file has: {why}", u64::from(number) * CHUNK_BLOCKS);
                let repair =
                    "take those for the file's in which there is anything; holes made in it are as they were before";
                let fixes = blocks.guess.is_some().then(|| Fix::GuessBlocks(key.clone()));
                found.push(told(Code::BadBlocks, what).mend(repair, fixes));
            }
            Ok(_) => {}
        }
    }
}

fn blob_problem(
    told: &dyn Fn(Code, String) -> Found,
    (ino, record): (Ino, &InodeRecord),
    blob: &BlobRef,
    is_content: bool,
    wrong: &Wrong,
) -> Found {
    let (code, why) = match wrong {
        Wrong::Missing => (Code::BlobMissing, "isn't in the store".to_owned()),
        Wrong::Damaged(why) => (Code::BlobDamaged, format!("is damaged: {why}")),
    };
    if is_content {
        let repair = "none: import what it came from again, or remove the file";
        return told(code, format!("its content, {}, {why}", blob_text(blob))).mend(repair, []);
    }
    let fix = match record.body {
        Body::File { generation, .. } => {
            Some(Fix::SetBody(ino, Body::File { generation, content: FileContent::Data { origin: None } }))
        }
        _ => None,
    };
    let what = format!("what it was copied up from, {}, {why}", blob_text(blob));
    told(Code::OriginMissing, what).mend("keep the copy alone", fix)
}

fn data_problem(
    told: &dyn Fn(Code, String) -> Found,
    state: &State,
    id: DataId,
    origin: Option<BlobRef>,
) -> Option<Found> {
    // A power cut may take files that weren't synced; recovery sees to them.
    if state.files.contains(&id) || (!state.closed && state.power_cut) {
        return None;
    }
    let aside = state.no_files.contains(&id).then_some(Fix::SetAside(id));
    let (code, what) = match aside {
        Some(_) => (Code::DataNotFile, format!("its data file {} is no file", file_text(id))),
        None => (Code::DataMissing, format!("its data file {} isn't there", file_text(id))),
    };
    let (repair, fix) = match origin {
        Some(blob) => {
            let body = Body::File { generation: id.generation, content: FileContent::Blob(blob) };
            (
                format!("go back to what it was copied up from, {}; later changes are lost", blob_text(&blob)),
                Fix::SetBody(id.ino, body),
            )
        }
        None => ("its content is lost; it becomes empty".to_owned(), Fix::CreateFile(id)),
    };
    Some(told(code, what).mend(repair, aside.into_iter().chain([fix])))
}

/// Data files that no record names, nor one that is lost or can't be decoded may have named. What has no names is nobody's once a layer is
/// closed.
pub(super) fn strays(state: &State) -> Vec<DataId> {
    let named = |(ino, record): (&_, &InodeRecord)| {
        let counts = !state.closed || !record.is_unnamed();
        record.data_generation().filter(|_| counts).map(|generation| DataId { ino: *ino, generation })
    };
    let wanted: BTreeSet<DataId> = state.inodes.iter().filter_map(named).collect();
    let meant: HashSet<Ino> = state.children().map(|(_, _, child)| child.ino).collect();
    let is_lost = |ino: &Ino| {
        state.bad_inodes.contains_key(ino)
            || (*ino >= Ino::NEW && !state.inodes.contains_key(ino) && meant.contains(ino))
    };
    let stray = |id: &&DataId| !wanted.contains(id) && !is_lost(&id.ino);
    state.files.iter().filter(stray).copied().collect()
}

/// The name of a data file within `data/`.
pub(super) fn file_text(id: DataId) -> String {
    format!("{:02x}/{:x}.{:x}", id.ino.0 & 0xff, id.ino.0, id.generation)
}
