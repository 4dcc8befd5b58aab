//! The bytes of a layer's records.
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

use super::{BadRecord, BlobRef, Body, Child, FileContent, InodeRecord, NameRecord, Partial};
use crate::format::{Device, Digest, Ino, Kind, Meta, Mode, Timestamp, Xattrs};

/// Of every record but those with partial content.
pub(super) const VERSION: u8 = 1;
/// Of records with partial content, which a program that knows version 1 alone must not take for anything else.
pub(super) const VERSION_PARTIAL: u8 = 2;
/// Exponents of block sizes of partial content: 4 KiB to 1 GiB.
const SHIFTS: std::ops::RangeInclusive<u8> = 12..=30;

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
