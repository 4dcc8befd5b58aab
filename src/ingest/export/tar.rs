//! Export as a PAX archive.
//!
//! The same manifest gives the same bytes. Every member has a ustar header; what doesn't fit one stands in PAX records before it: nanoseconds, long
//! names, large numbers, attributes (`SCHILY.xattr.`), ACLs (`SCHILY.acl.`), the holes of sparse files (GNU.sparse 1.0). Of a file with several names
//! the first has the content and the others are hard links. A socket, for which archives have no type, is an empty file with the record
//! `SCHILY.filetype=socket`.

use super::walk::{Place, Visitor, walk};
use super::{content, zeros};
use crate::format::{AclKind, Content, Digest, LinkNumber, Meta};
use crate::ingest::tar::Compression;
use crate::ingest::tar::acl;
use crate::ingest::tar::write::{Member, TarWriter};
use crate::ingest::trail::Trail;
use crate::ingest::{IngestError, Progress};
use crate::store::Store;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Writes a manifest's files to `output` as an archive, compressed if wanted.
pub fn export_tar(
    store: &Store,
    manifest: Digest,
    output: impl Write,
    compression: Compression,
    progress: &Progress,
) -> Result<(), IngestError> {
    let output = io::BufWriter::with_capacity(256 * 1024, output);
    let finished = match compression {
        Compression::None => write(store, manifest, output, progress)?.flush(),
        Compression::Gzip => {
            let encoder = flate2::write::GzEncoder::new(output, flate2::Compression::default());
            write(store, manifest, encoder, progress)?.finish().and_then(|mut output| output.flush())
        }
        Compression::Zstd => {
            let encoder = zstd::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(IngestError::Output)?;
            write(store, manifest, encoder, progress)?.finish().and_then(|mut output| output.flush())
        }
        Compression::Xz => {
            let encoder = liblzma::write::XzEncoder::new(output, 6);
            write(store, manifest, encoder, progress)?.finish().and_then(|mut output| output.flush())
        }
    };
    finished.map_err(IngestError::Output)
}

fn write<W: Write>(store: &Store, manifest: Digest, output: W, progress: &Progress) -> Result<W, IngestError> {
    let mut visitor = Archive { store, tar: TarWriter::new(output), made: HashMap::new(), progress };
    walk(store, manifest, &mut visitor, progress)?;
    visitor.tar.finish().map_err(IngestError::Output)
}

struct Archive<'a, W> {
    store: &'a Store,
    tar: TarWriter<W>,
    /// First names of linked inodes.
    made: HashMap<LinkNumber, Trail>,
    progress: &'a Progress,
}

impl<W: Write> Visitor for Archive<'_, W> {
    fn enter(&mut self, place: &Place<'_>, meta: &Meta) -> Result<(), IngestError> {
        let mut path = place.trail().bytes();
        path.extend_from_slice(if path.is_empty() { b"./" } else { b"/" });
        self.tar.begin(&member(b'5', path, meta)).map_err(IngestError::Output)
    }

    fn leaf(
        &mut self,
        place: &Place<'_>,
        meta: &Meta,
        content: &Content,
        link: Option<LinkNumber>,
    ) -> Result<(), IngestError> {
        let trail = place.trail();
        let mut member = member(b'0', trail.bytes(), meta);
        if let Some(link) = link {
            if let Some(first) = self.made.get(&link) {
                (member.kind, member.link) = (b'1', first.bytes());
                return self.tar.begin(&member).map_err(IngestError::Output);
            }
            self.made.insert(link, trail.clone());
        }
        match content {
            Content::File { digest, size } => return self.file(member, *digest, *size, &trail),
            Content::Symlink(target) => (member.kind, member.link) = (b'2', target.to_vec()),
            Content::Char(device) => (member.kind, member.device) = (b'3', (device.major, device.minor)),
            Content::Block(device) => (member.kind, member.device) = (b'4', (device.major, device.minor)),
            Content::Fifo => member.kind = b'6',
            Content::Socket => member.records.push((b"SCHILY.filetype".to_vec(), b"socket".to_vec())),
        }
        self.tar.begin(&member).map_err(IngestError::Output)
    }

    fn leave(&mut self, _: &Trail, _: &Meta) -> Result<(), IngestError> {
        Ok(())
    }
}

impl<W: Write> Archive<'_, W> {
    fn file(&mut self, mut member: Member, digest: Digest, size: u64, trail: &Trail) -> Result<(), IngestError> {
        let blob = content::open(self.store, digest, size, trail)?;
        let pieces = zeros::pieces(&blob, size);
        let pieces = pieces.map_err(|source| content::failed("read the blob of", trail, source))?;
        let map = match &pieces {
            Some(pieces) => sparse_map(pieces, size),
            None => Vec::new(),
        };
        let pieces = match pieces {
            Some(pieces) => {
                member.make_sparse(size);
                pieces
            }
            None => vec![(0, size)],
        };
        member.size = map.len() as u64 + pieces.iter().map(|&(_, length)| length).sum::<u64>();
        self.tar.begin(&member).map_err(IngestError::Output)?;
        self.tar.data(&map).map_err(IngestError::Output)?;
        for (offset, length) in pieces {
            self.piece(&blob, offset, length, trail)?;
        }
        self.progress.add_bytes(size);
        self.tar.end().map_err(IngestError::Output)
    }

    fn piece(&mut self, blob: &File, mut at: u64, length: u64, trail: &Trail) -> Result<(), IngestError> {
        let end = at + length;
        let mut buffer = vec![0; 128 * 1024];
        while at < end {
            let room = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let read = blob.read_at(&mut buffer[..room], at).and_then(|got| match got {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                got => Ok(got),
            });
            let got = read.map_err(|source| content::failed("read the blob of", trail, source))?;
            self.tar.data(&buffer[..got]).map_err(IngestError::Output)?;
            at += got as u64;
        }
        Ok(())
    }
}

/// The map of a sparse file, as text padded to a block. A hole at the end shows by an empty last piece.
fn sparse_map(pieces: &[(u64, u64)], size: u64) -> Vec<u8> {
    let ends_in_hole = pieces.last().is_none_or(|(offset, length)| offset + length < size);
    let last = ends_in_hole.then_some((size, 0));
    let numbers = pieces.iter().copied().chain(last).flat_map(|(offset, length)| [offset, length]);
    let count = pieces.len() + usize::from(ends_in_hole);
    let mut text = format!("{count}\n");
    numbers.for_each(|number| text.push_str(&format!("{number}\n")));
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(512), 0);
    map
}

fn member(kind: u8, path: Vec<u8>, meta: &Meta) -> Member {
    let mut records = Vec::new();
    for (name, value) in meta.xattrs.as_slice() {
        records.push(([b"SCHILY.xattr.", &*escape_key(name)].concat(), value.to_vec()));
        // twice, for programs know ACLs by the one or the other
        for (kind, key) in [(AclKind::Access, "SCHILY.acl.access"), (AclKind::Default, "SCHILY.acl.default")] {
            if let Some(text) = acl::to_text(value).filter(|_| kind.xattr() == &**name) {
                records.push((key.as_bytes().to_vec(), text.into_bytes()));
            }
        }
    }
    let mut member = Member::new(kind, path);
    (member.mode, member.uid, member.gid) = (meta.mode.bits(), meta.uid, meta.gid);
    (member.mtime, member.records) = ((meta.mtime.secs(), meta.mtime.nanos()), records);
    member
}

/// As GNU tar does, for a `=` would end the key.
fn escape_key(name: &[u8]) -> Vec<u8> {
    let escaped = name.iter().map(|byte| match byte {
        b'%' => &b"%25"[..],
        b'=' => b"%3D",
        _ => std::slice::from_ref(byte),
    });
    escaped.collect::<Vec<_>>().concat()
}
