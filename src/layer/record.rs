//! The records of a layer's database and their bytes.
//!
//! ```text
//! inodes   key   number, u64 big-endian          (big-endian so that keys sort as numbers do)
//!          value version u8 = 1 │ kind u8 │ mode u16 │ uid u32 │ gid u32 │ nlink u32
//!                │ atime, mtime, ctime: (secs i64, nanos u32) each │ body by kind │ xattrs
//! names    key   directory's number, u64 big-endian │ name bytes
//!          value tag u8: 0 removed │ 1 child: number u64, kind u8, sequence u64
//! ```
//! Body of a file: generation u32, tag u8: 0 blob (digest 32, size u64) │ 1 data │ 2 data with origin (digest 32, size u64) │ 3 sealed
//! │ 4 partial (digest 32, size u64, visible u64, shift u8, settled u8), in version 2 only and there alone;
//! of a directory: parent u64, subdirectories u32; of a symlink: length u16 and target; of a device: major u32,
//! minor u32. Xattrs: count u16, then name length u8, value length u32, name, value, each. All but keys little-endian.

use crate::format::{Device, Digest, Ino, Kind, Meta, Mode, Timestamp, Xattrs};

/// Of every record but those with partial content.
const VERSION: u8 = 1;
/// Of records with partial content, which a program that knows version 1 alone must not take for anything else.
const VERSION_PARTIAL: u8 = 2;
/// Exponents of block sizes of partial content: 4 KiB to 1 GiB.
const SHIFTS: std::ops::RangeInclusive<u8> = 12..=30;

/// A blob and its length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlobRef {
    /// Name of the blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Content that is in a data file block by block, and elsewhere in the blob that it was copied up from.
///
/// A byte is the blob's when it lies below `visible` in a block that the data file doesn't hold (`blocks`); any other is the data file's. Length
/// and mtime are the data file's. Nothing but this program writes it, so what is held is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial {
    /// Where bytes come from that aren't held.
    pub blob: BlobRef,
    /// Up to where the blob is seen: the shortest length that the file has had and grown from, at most the blob's.
    pub visible: u64,
    /// The size of a block is 2 to the power of this.
    pub shift: u8,
    /// The data file is known to be on disk. Until then, a power cut takes the file back to the blob.
    pub settled: bool,
}

/// Where the bytes of a regular file are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileContent {
    /// In the store: the content is clean, only metadata is dirty.
    Blob(BlobRef),
    /// In the layer's data file of this inode and generation. Its size and mtime are those of the data file, for passthrough writes
    /// don't pass the daemon. `origin` is the blob it was copied up from, kept until the copy is known to be on disk.
    Data {
        /// What to fall back to when a power cut took the copy.
        origin: Option<BlobRef>,
    },
    /// In the data file, which a snapshot is taking into the store and nothing writes any more: its mtime is the record's, and a write
    /// copies it up to the next generation.
    Sealed,
    /// In the data file and in a blob.
    Partial(Partial),
}

/// What an inode has by its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A regular file.
    File {
        /// Counts copy-ups, so that no two data files of one inode share a name.
        generation: u32,
        /// Where its bytes are.
        content: FileContent,
    },
    /// A directory; its entries are its base tree's, changed by the `names` records.
    Dir {
        /// The directory that holds it (the root holds itself).
        parent: Ino,
        /// Directories directly inside, after the changes.
        subdirs: u32,
    },
    /// A symbolic link's target.
    Symlink(Box<[u8]>),
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

impl Body {
    /// The type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Dir { .. } => Kind::Dir,
            Self::Symlink(_) => Kind::Symlink,
            Self::Char(_) => Kind::Char,
            Self::Block(_) => Kind::Block,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
        }
    }
}

/// A dirty inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InodeRecord {
    /// Mode, owner, mtime, xattrs. The mtime of a file whose content is in a data file is that file's.
    pub meta: Meta,
    /// Names; 0 for an inode that is unlinked but still held by the kernel. 1 for a directory: what stat tells is counted from `subdirs`.
    pub nlink: u32,
    /// Access time: set when the inode is made and by utimensat(2), never by reading.
    pub atime: Timestamp,
    /// Change time.
    pub ctime: Timestamp,
    /// By type.
    pub body: Body,
}

/// What a directory's entry has become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameRecord {
    /// The base tree's entry of this name is gone.
    Removed,
    /// The name means this inode.
    Child(Child),
}

/// A child under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its number.
    pub ino: Ino,
    /// Its type.
    pub kind: Kind,
    /// Order of making in the layer: the listing's cookie.
    pub sequence: u64,
}

/// Bytes of a record that no version of this program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// A version from the future.
    #[error("record version {0}, this program reads versions {VERSION} and {VERSION_PARTIAL}")]
    Version(u8),
    /// Something else.
    #[error("a damaged record ({0})")]
    Damaged(&'static str),
}

fn kind_tag(kind: Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Dir => 2,
        Kind::Symlink => 3,
        Kind::Char => 4,
        Kind::Block => 5,
        Kind::Fifo => 6,
        Kind::Socket => 7,
    }
}

fn kind_from(tag: u8) -> Result<Kind, BadRecord> {
    Ok(match tag {
        1 => Kind::File,
        2 => Kind::Dir,
        3 => Kind::Symlink,
        4 => Kind::Char,
        5 => Kind::Block,
        6 => Kind::Fifo,
        7 => Kind::Socket,
        _ => return Err(BadRecord::Damaged("kind")),
    })
}

/// Key of an inode record.
pub fn inode_key(ino: Ino) -> [u8; 8] {
    ino.0.to_be_bytes()
}

/// Number of an inode record's key.
pub fn ino_of_key(key: &[u8]) -> Result<Ino, BadRecord> {
    let bytes = key.first_chunk::<8>().ok_or(BadRecord::Damaged("key"))?;
    Ok(Ino(u64::from_be_bytes(*bytes)))
}

/// Key of a name record.
pub fn name_key(parent: Ino, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + name.len());
    key.extend_from_slice(&inode_key(parent));
    key.extend_from_slice(name);
    key
}

impl NameRecord {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Removed => vec![0],
            Self::Child(child) => {
                let mut out = vec![1];
                out.extend_from_slice(&child.ino.0.to_le_bytes());
                out.push(kind_tag(child.kind));
                out.extend_from_slice(&child.sequence.to_le_bytes());
                out
            }
        }
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut reader = Reader(bytes);
        let record = match reader.u8()? {
            0 => Self::Removed,
            1 => {
                Self::Child(Child { ino: Ino(reader.u64()?), kind: kind_from(reader.u8()?)?, sequence: reader.u64()? })
            }
            _ => return Err(BadRecord::Damaged("name tag")),
        };
        reader.end()?;
        Ok(record)
    }
}

impl InodeRecord {
    /// Whether it has no name left.
    pub fn is_unnamed(&self) -> bool {
        self.nlink == 0
    }

    /// What stays of an inode of the base's table that has no name left: the base would call it alive otherwise.
    pub fn tombstone(self) -> Self {
        let meta = Meta { xattrs: Xattrs::default(), ..self.meta };
        Self { meta, nlink: 0, body: Body::Fifo, ..self }
    }

    /// Its data file's generation, when its content is in one.
    pub fn data_generation(&self) -> Option<u32> {
        match self.body {
            Body::File { generation, content } if !matches!(content, FileContent::Blob(_)) => Some(generation),
            _ => None,
        }
    }

    /// Generation and content of a file that is partly in its data file.
    pub fn partial(&self) -> Option<(u32, Partial)> {
        match self.body {
            Body::File { generation, content: FileContent::Partial(partial) } => Some((generation, partial)),
            _ => None,
        }
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let version = if self.partial().is_some() { VERSION_PARTIAL } else { VERSION };
        out.extend_from_slice(&[version, kind_tag(self.kind())]);
        out.extend_from_slice(&self.meta.mode.bits().to_le_bytes());
        for field in [self.meta.uid, self.meta.gid, self.nlink] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for time in [self.atime, self.meta.mtime, self.ctime] {
            out.extend_from_slice(&time.secs().to_le_bytes());
            out.extend_from_slice(&time.nanos().to_le_bytes());
        }
        self.encode_body(&mut out);
        let xattrs = self.meta.xattrs.as_slice();
        out.extend_from_slice(&(xattrs.len() as u16).to_le_bytes());
        for (name, value) in xattrs {
            out.push(name.len() as u8);
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(value);
        }
        out
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match &self.body {
            Body::File { generation, content } => {
                out.extend_from_slice(&generation.to_le_bytes());
                let (tag, blob) = match content {
                    FileContent::Blob(blob) => (0, Some(blob)),
                    FileContent::Data { origin: None } => (1, None),
                    FileContent::Data { origin: Some(blob) } => (2, Some(blob)),
                    FileContent::Sealed => (3, None),
                    FileContent::Partial(Partial { blob, .. }) => (4, Some(blob)),
                };
                out.push(tag);
                if let Some(blob) = blob {
                    out.extend_from_slice(blob.digest.as_bytes());
                    out.extend_from_slice(&blob.size.to_le_bytes());
                }
                if let FileContent::Partial(partial) = content {
                    out.extend_from_slice(&partial.visible.to_le_bytes());
                    out.extend_from_slice(&[partial.shift, u8::from(partial.settled)]);
                }
            }
            Body::Dir { parent, subdirs } => {
                out.extend_from_slice(&parent.0.to_le_bytes());
                out.extend_from_slice(&subdirs.to_le_bytes());
            }
            Body::Symlink(target) => {
                out.extend_from_slice(&(target.len() as u16).to_le_bytes());
                out.extend_from_slice(target);
            }
            Body::Char(device) | Body::Block(device) => {
                out.extend_from_slice(&device.major.to_le_bytes());
                out.extend_from_slice(&device.minor.to_le_bytes());
            }
            Body::Fifo | Body::Socket => {}
        }
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut reader = Reader(bytes);
        let version = reader.u8()?;
        if ![VERSION, VERSION_PARTIAL].contains(&version) {
            return Err(BadRecord::Version(version));
        }
        let kind = kind_from(reader.u8()?)?;
        let mode = Mode::from_bits(u32::from(reader.u16()?));
        let (uid, gid, nlink) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (atime, mtime, ctime) = (reader.time()?, reader.time()?, reader.time()?);
        let body = reader.body(kind)?;
        let xattrs = reader.xattrs()?;
        reader.end()?;
        let record = Self { meta: Meta { mode, uid, gid, mtime, xattrs }, nlink, atime, ctime, body };
        let is_partial = record.partial().is_some();
        if is_partial == (version == VERSION_PARTIAL) { Ok(record) } else { Err(BadRecord::Damaged("version")) }
    }
}

/// Reads fields off the front, with bounds checks.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadRecord> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(BadRecord::Damaged("cut short"))?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8, BadRecord> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, BadRecord> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, BadRecord> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, BadRecord> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, BadRecord> {
        let secs = self.array().map(i64::from_le_bytes)?;
        Timestamp::new(secs, self.u32()?).ok_or(BadRecord::Damaged("time"))
    }

    fn blob(&mut self) -> Result<BlobRef, BadRecord> {
        Ok(BlobRef { digest: Digest::from_bytes(self.array()?), size: self.u64()? })
    }

    fn partial(&mut self) -> Result<Partial, BadRecord> {
        let (blob, visible, shift) = (self.blob()?, self.u64()?, self.u8()?);
        let settled = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(BadRecord::Damaged("settled")),
        };
        if visible > blob.size || !SHIFTS.contains(&shift) {
            return Err(BadRecord::Damaged("partial content"));
        }
        Ok(Partial { blob, visible, shift, settled })
    }

    fn device(&mut self) -> Result<Device, BadRecord> {
        Ok(Device { major: self.u32()?, minor: self.u32()? })
    }

    fn body(&mut self, kind: Kind) -> Result<Body, BadRecord> {
        Ok(match kind {
            Kind::File => Body::File {
                generation: self.u32()?,
                content: match self.u8()? {
                    0 => FileContent::Blob(self.blob()?),
                    1 => FileContent::Data { origin: None },
                    2 => FileContent::Data { origin: Some(self.blob()?) },
                    3 => FileContent::Sealed,
                    4 => FileContent::Partial(self.partial()?),
                    _ => return Err(BadRecord::Damaged("content")),
                },
            },
            Kind::Dir => Body::Dir { parent: Ino(self.u64()?), subdirs: self.u32()? },
            Kind::Symlink => {
                let length = self.u16()?;
                Body::Symlink(self.take(length.into())?.into())
            }
            Kind::Char => Body::Char(self.device()?),
            Kind::Block => Body::Block(self.device()?),
            Kind::Fifo => Body::Fifo,
            Kind::Socket => Body::Socket,
        })
    }

    fn xattrs(&mut self) -> Result<Xattrs, BadRecord> {
        let count = self.u16()?;
        let mut all = Vec::with_capacity(usize::from(count).min(self.0.len()));
        for _ in 0..count {
            let name_length = self.u8()?;
            let value_length = self.u32()?;
            all.push((self.take(name_length.into())?.into(), self.take(value_length as usize)?.into()));
        }
        Xattrs::new(all).map_err(|_| BadRecord::Damaged("xattrs"))
    }

    fn end(&self) -> Result<(), BadRecord> {
        if self.0.is_empty() { Ok(()) } else { Err(BadRecord::Damaged("trailing bytes")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blob() -> impl Strategy<Value = BlobRef> {
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(d, size)| BlobRef { digest: Digest::from_bytes(d), size })
    }

    fn body() -> impl Strategy<Value = Body> {
        let device = (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Device { major, minor });
        prop_oneof![
            (any::<u32>(), blob()).prop_map(|(generation, b)| Body::File { generation, content: FileContent::Blob(b) }),
            (any::<u32>(), proptest::option::of(blob()))
                .prop_map(|(generation, origin)| Body::File { generation, content: FileContent::Data { origin } }),
            (any::<u32>(), blob(), any::<u64>(), SHIFTS, any::<bool>()).prop_map(
                |(generation, blob, part, shift, settled)| {
                    let visible = part.checked_rem(blob.size).unwrap_or(0);
                    let content = FileContent::Partial(Partial { blob, visible, shift, settled });
                    Body::File { generation, content }
                }
            ),
            (any::<u64>(), any::<u32>()).prop_map(|(p, subdirs)| Body::Dir { parent: Ino(p), subdirs }),
            proptest::collection::vec(any::<u8>(), 1..4096).prop_map(|t| Body::Symlink(t.into())),
            device.clone().prop_map(Body::Char),
            device.prop_map(Body::Block),
            Just(Body::Fifo),
            Just(Body::Socket),
        ]
    }

    fn time() -> impl Strategy<Value = Timestamp> {
        (any::<i64>(), 0..1_000_000_000u32).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
    }

    proptest! {
        #[test]
        fn records_round_trip(
            body in body(), mode in 0..0o10000u32, ids in any::<[u32; 3]>(), times in [time(), time(), time()],
            value in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let xattrs = Xattrs::default().with(b"user.x", &value).unwrap();
            let meta = Meta { mode: Mode::from_bits(mode), uid: ids[0], gid: ids[1], mtime: times[0], xattrs };
            let record = InodeRecord { meta, nlink: ids[2], atime: times[1], ctime: times[2], body };
            prop_assert_eq!(InodeRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_decode_to_themselves(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(record) = NameRecord::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes.clone());
            }
            let mut stamped = vec![VERSION, 1];
            stamped.extend(bytes);
            let _ = InodeRecord::decode(&stamped);
        }
    }

    #[test]
    fn a_record_from_the_future_is_named() {
        assert_eq!(InodeRecord::decode(&[9, 1]), Err(BadRecord::Version(9)));
    }
}
