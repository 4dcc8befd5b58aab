//! What an import remembers of the files that it read, so that the next one of the same source needn't read those that didn't change.
//!
//! ```text
//!   entries   count × 76: ino u64 │ size u64 │ mtime: secs i64, nanos u32 │ ctime: secs i64, nanos u32 │ digest 32 │ set u32
//!   trees     trees × 32, ascending: the directories that the manifest reaches
//!   sets      attribute sets, as in trees
//!   about     JSON: of what source and clock the entries tell, for the importer alone
//!   trailer   magic "CRN-SEEN" │ version u32 = 1 │ sets u32 │ count u64 │ trees u64 │ sets_len u64 │ about_len u64 │ manifest 32 │ xxh3 u64
//! ```
//! It is written from front to back while files are read, which is why the header comes last; in no order, for many threads do. It is no object: it has
//! no digest, and one that is lost or damaged costs time alone. So the checksum, of all before it, is to tell accidents, not forgery.
//! Invariant: everything that it names is reached by its manifest.

use super::codec::{Put, Reader, count32};
use super::{Digest, FormatError, Timestamp, Xattrs, sets};
use std::collections::HashMap;
use std::ops::Range;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: &[u8; 8] = b"CRN-SEEN";
const VERSION: u32 = 1;
const ENTRY: usize = 76;
const DIGEST: usize = 32;
const TRAILER: usize = 8 + 4 + 4 + 4 * 8 + DIGEST + 8;
/// Bytes of attribute sets beyond which files with further ones aren't remembered: ordinary trees have a few dozen sets.
const SETS_MAX: usize = 16 << 20;
/// Files beyond which no more are remembered, so that neither the cache nor its reader grows without bound.
const ENTRIES_MAX: u64 = 8 << 20;

/// A regular file in the state in which its content was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CachedFile {
    /// Its number on its filesystem.
    pub ino: u64,
    /// Its length.
    pub size: u64,
    /// When its content was changed last, or what it was set to.
    pub mtime: Timestamp,
    /// When anything of it was changed last.
    pub ctime: Timestamp,
    /// Its content.
    pub digest: Digest,
}

impl CachedFile {
    fn is_state_of(&self, other: &Self) -> bool {
        Self { digest: other.digest, ..*self } == *other
    }
}

/// A cache that was read.
#[derive(Debug)]
pub struct FileCache {
    bytes: Vec<u8>,
    /// Numbers of entries, ascending by inode number.
    order: Vec<u32>,
    trees: Range<usize>,
    sets: Vec<Xattrs>,
    about: Range<usize>,
    manifest: Digest,
}

/// Writes a cache piece by piece.
#[derive(Default)]
pub struct FileCacheEncoder {
    checksum: Xxh3,
    count: u64,
    trees: Vec<Digest>,
    numbers: HashMap<Xattrs, u32>,
    sets: Vec<u8>,
}

impl FileCacheEncoder {
    /// Appends a file to `out`; one that is too much is left out.
    pub fn add(&mut self, file: &CachedFile, xattrs: &Xattrs, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let full = self.count >= ENTRIES_MAX || self.sets.len() > SETS_MAX && !self.numbers.contains_key(xattrs);
        if full {
            return Ok(());
        }
        let set = self.number(xattrs)?;
        let start = out.len();
        out.u64(file.ino);
        out.u64(file.size);
        for time in [file.mtime, file.ctime] {
            out.i64(time.secs());
            out.u32(time.nanos());
        }
        out.bytes(file.digest.as_bytes());
        out.u32(set);
        self.checksum.update(&out[start..]);
        self.count += 1;
        Ok(())
    }

    /// Adds a directory.
    pub fn add_tree(&mut self, tree: Digest) {
        self.trees.push(tree);
    }

    /// Appends the rest.
    pub fn finish(mut self, manifest: Digest, about: &str, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let start = out.len();
        self.trees.sort_unstable();
        self.trees.dedup();
        self.trees.iter().for_each(|tree| out.bytes(tree.as_bytes()));
        out.bytes(&self.sets);
        out.bytes(about.as_bytes());
        out.bytes(MAGIC);
        out.u32(VERSION);
        out.u32(count32(self.numbers.len(), "sets of extended attributes")?);
        for length in [self.count, self.trees.len() as u64, self.sets.len() as u64, about.len() as u64] {
            out.u64(length);
        }
        out.bytes(manifest.as_bytes());
        self.checksum.update(&out[start..]);
        out.u64(self.checksum.digest());
        Ok(())
    }

    fn number(&mut self, xattrs: &Xattrs) -> Result<u32, FormatError> {
        if xattrs.is_empty() {
            return Ok(0);
        }
        if let Some(number) = self.numbers.get(xattrs) {
            return Ok(*number);
        }
        let number = count32(self.numbers.len() + 1, "sets of extended attributes")?;
        sets::write(xattrs, &mut self.sets)?;
        self.numbers.insert(xattrs.clone(), number);
        Ok(number)
    }
}

/// The fields of a trailer.
struct Trailer {
    sets: u32,
    count: usize,
    trees: usize,
    sets_len: usize,
    about_len: usize,
    manifest: Digest,
    checksum: u64,
}

impl Trailer {
    fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let at = bytes.len().checked_sub(TRAILER).ok_or(FormatError::Truncated { at: bytes.len() })?;
        let mut reader = Reader::new(bytes, at);
        reader.stamp("cache of an import", MAGIC, VERSION)?;
        let sets = reader.u32()?;
        let mut length = || reader.u64().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let (count, trees, sets_len, about_len) = (length()?, length()?, length()?, length()?);
        Ok(Self { sets, count, trees, sets_len, about_len, manifest: reader.digest()?, checksum: reader.u64()? })
    }

    /// Where the entries, the trees and the sets end.
    fn ends(&self, total: usize) -> Option<[usize; 3]> {
        let entries = self.count.checked_mul(ENTRY)?;
        let trees = self.trees.checked_mul(DIGEST)?.checked_add(entries)?;
        let sets = trees.checked_add(self.sets_len)?;
        (sets.checked_add(self.about_len)?.checked_add(TRAILER)? == total).then_some([entries, trees, sets])
    }
}

impl FileCache {
    /// Length of what [`FileCache::manifest_of`] needs.
    pub const TAIL: usize = TRAILER;

    /// The manifest that a cache hangs on, by the last [`FileCache::TAIL`] bytes of it.
    pub fn manifest_of(tail: &[u8]) -> Result<Digest, FormatError> {
        Trailer::read(tail).map(|trailer| trailer.manifest)
    }

    /// Reads a cache.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let trailer = Trailer::read(&bytes)?;
        let lengths = FormatError::Header { field: "lengths" };
        let [entries, trees, sets] = trailer.ends(bytes.len()).ok_or(lengths)?;
        if xxh3_64(&bytes[..bytes.len() - size_of::<u64>()]) != trailer.checksum {
            return Err(FormatError::Header { field: "checksum" });
        }
        let count = count32(trailer.count, "files")?;
        let about = sets..bytes.len() - TRAILER;
        let sets = sets::read(Reader::new(&bytes[..sets], trees), trailer.sets)?;
        if std::str::from_utf8(&bytes[about.clone()]).is_err() {
            return Err(FormatError::Header { field: "description" });
        }
        let mut cache =
            Self { bytes, order: (0..count).collect(), trees: entries..trees, sets, about, manifest: trailer.manifest };
        let mut order = std::mem::take(&mut cache.order);
        order.sort_unstable_by_key(|&index| cache.ino(index));
        Ok(Self { order, ..cache })
    }

    /// The manifest that reaches all that the cache names.
    pub fn manifest(&self) -> Digest {
        self.manifest
    }

    /// What the importer wrote of source and clock.
    pub fn about(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.about.clone()]).unwrap_or_default()
    }

    /// Files.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no file is in it.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Content and attributes of a file that is in the state of `seen`, whose digest doesn't count.
    pub fn find(&self, seen: &CachedFile) -> Option<(Digest, Xattrs)> {
        let first = self.order.partition_point(|&index| self.ino(index) < seen.ino);
        let same = self.order[first..].iter().take_while(|&&index| self.ino(index) == seen.ino);
        same.filter_map(|&index| self.entry(index)).find(|(file, _)| file.is_state_of(seen)).and_then(|(file, set)| {
            let xattrs = match set.checked_sub(1) {
                None => Xattrs::default(),
                Some(index) => self.sets.get(index as usize)?.clone(),
            };
            Some((file.digest, xattrs))
        })
    }

    /// Whether the directory is one that the manifest reaches.
    pub fn has_tree(&self, tree: Digest) -> bool {
        let trees = self.bytes[self.trees.clone()].as_chunks::<DIGEST>().0;
        trees.binary_search(tree.as_bytes()).is_ok()
    }

    fn ino(&self, index: u32) -> u64 {
        let at = index as usize * ENTRY;
        let mut ino = [0; 8];
        ino.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(ino)
    }

    fn entry(&self, index: u32) -> Option<(CachedFile, u32)> {
        let mut reader = Reader::new(&self.bytes, index as usize * ENTRY);
        let (ino, size) = (reader.u64().ok()?, reader.u64().ok()?);
        let mut time = || Timestamp::new(reader.i64().ok()?, reader.u32().ok()?);
        let (mtime, ctime) = (time()?, time()?);
        Some((CachedFile { ino, size, mtime, ctime, digest: reader.digest().ok()? }, reader.u32().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(ino: u64, label: u8) -> CachedFile {
        let time = |secs| Timestamp::new(secs, u32::from(label)).unwrap();
        CachedFile { ino, size: 5, mtime: time(-7), ctime: time(8), digest: Digest::of(&[label]) }
    }

    fn set(value: u8) -> Xattrs {
        Xattrs::new(vec![((*b"user.a").into(), [value].into())]).unwrap()
    }

    fn encoded() -> Vec<u8> {
        let (mut encoder, mut out) = (FileCacheEncoder::default(), Vec::new());
        encoder.add(&file(9, 1), &set(1), &mut out).unwrap();
        encoder.add(&file(3, 2), &Xattrs::default(), &mut out).unwrap();
        encoder.add(&file(9, 3), &set(2), &mut out).unwrap();
        for tree in [5u8, 4, 5] {
            encoder.add_tree(Digest::of(&[tree]));
        }
        encoder.finish(Digest::of(b"manifest"), "about", &mut out).unwrap();
        out
    }

    #[test]
    fn what_was_written_is_found_and_nothing_else() {
        let bytes = encoded();
        let tail = &bytes[bytes.len() - FileCache::TAIL..];
        assert_eq!(FileCache::manifest_of(tail), Ok(Digest::of(b"manifest")));
        let cache = FileCache::decode(bytes).unwrap();
        assert_eq!((cache.manifest(), cache.about(), cache.len()), (Digest::of(b"manifest"), "about", 3));
        let any = |seen: CachedFile| cache.find(&CachedFile { digest: Digest::of(b"?"), ..seen });
        assert_eq!(any(file(9, 1)), Some((Digest::of(&[1]), set(1))));
        assert_eq!(any(file(9, 3)), Some((Digest::of(&[3]), set(2))));
        assert_eq!(any(file(3, 2)), Some((Digest::of(&[2]), Xattrs::default())));
        let seen = file(3, 2);
        for other in [
            CachedFile { ino: 4, ..seen },
            CachedFile { size: 6, ..seen },
            CachedFile { mtime: Timestamp::new(-7, 3).unwrap(), ..seen },
            CachedFile { ctime: Timestamp::new(9, 2).unwrap(), ..seen },
        ] {
            assert_eq!(any(other), None, "{other:?}");
        }
        assert!(cache.has_tree(Digest::of(&[4])) && cache.has_tree(Digest::of(&[5])));
        assert!(!cache.has_tree(Digest::of(&[6])));
    }

    proptest! {
        #[test]
        fn any_damage_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>()) {
            let whole = encoded();
            let mut flipped = whole.clone();
            flipped[at.index(whole.len())] ^= flip;
            prop_assert!(FileCache::decode(flipped).is_err());
            prop_assert!(FileCache::decode(whole[..cut.index(whole.len())].to_vec()).is_err());
        }

        #[test]
        fn no_bytes_upset_the_decoder(mut bytes in prop::collection::vec(any::<u8>(), 0..300), lengths in any::<[u64; 4]>()) {
            let _ = FileCache::decode(bytes.clone());
            bytes.extend(MAGIC);
            bytes.u32(VERSION);
            bytes.u32(1);
            lengths.iter().for_each(|&length| bytes.u64(length % 4 * (length >> 40)));
            bytes.extend([0; DIGEST]);
            let sum = xxh3_64(&bytes);
            bytes.u64(sum);
            let _ = FileCache::decode(bytes);
        }
    }
}
