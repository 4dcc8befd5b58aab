//! The members of an archive in order, each with all that its headers say of it.
//!
//! A member is an optional PAX header (`x`), GNU long name (`L`) and long link (`K`) in any order, the header proper, and its data in whole blocks.
//! Where programs differ, the reading that can't lose anything in silence is taken: links, devices and directories have no data whatever their size
//! field says, so that data there would be met as a bad header.

use super::header::{BLOCK, Header, sparse_block};
use super::pax::Overrides;
use super::sparse::{Form, MapText, SparseMap};
use super::{Compression, Problem};
use crate::format::{Content, Device, Meta, Mode, Timestamp};
use crate::ingest::{ImportOptions, IngestError, Limits, ShownPath};
use std::io::{self, Read};

/// Reads members. Invariant: `left` and `padding` are what remains of the current member's data.
pub(super) struct Members<R> {
    input: R,
    compression: Compression,
    limits: Limits,
    allow_missing_end: bool,
    global: Overrides,
    /// Bytes read.
    position: u64,
    /// Where the current header starts.
    at: u64,
    left: u64,
    padding: u64,
    holes: u64,
}

/// A member of an archive.
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) what: What,
}

/// What a member is.
pub(super) enum What {
    /// A regular file of this many bytes, which follow.
    File(u64),
    /// A sparse file, whose pieces follow.
    Sparse(SparseMap),
    /// Another name of what was at this path.
    HardLink(Vec<u8>),
    /// A directory.
    Dir,
    /// Anything else.
    Other(Content),
}

/// The headers before a member's own.
#[derive(Default)]
struct Prelude {
    pax: Option<Overrides>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Prelude {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.path.is_none() && self.link.is_none()
    }
}

impl<R: Read> Members<R> {
    pub(super) fn new(input: R, compression: Compression, options: &ImportOptions) -> Self {
        let (limits, allow_missing_end) = (options.limits, options.allow_missing_end);
        let global = Overrides::default();
        Self {
            input,
            compression,
            limits,
            allow_missing_end,
            global,
            position: 0,
            at: 0,
            left: 0,
            padding: 0,
            holes: 0,
        }
    }

    /// The next member, past what wasn't read of the one before; `None` at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>, IngestError> {
        self.skip_data()?;
        let mut prelude = Prelude::default();
        loop {
            let Some(header) = self.header(prelude.is_empty())? else { return Ok(None) };
            match header.kind() {
                b'x' | b'X' => {
                    let records = self.payload(&header)?;
                    let pax = prelude.pax.get_or_insert_with(|| self.global.clone());
                    pax.apply(&records).map_err(|problem| self.bad(problem))?;
                }
                b'g' => {
                    let records = self.payload(&header)?;
                    let mut global = std::mem::take(&mut self.global);
                    global.apply_global(&records).map_err(|problem| self.bad(problem))?;
                    self.global = global;
                }
                b'L' => prelude.path = Some(until_nul(self.payload(&header)?)),
                b'K' => prelude.link = Some(until_nul(self.payload(&header)?)),
                b'V' => drop(self.payload(&header)?),
                _ => return self.member(&header, prelude).map(Some),
            }
        }
    }

    /// The current member's data, as they are stored.
    pub(super) fn data(&mut self) -> Data<'_, R> {
        Data(self)
    }

    /// What reading the data failed with.
    pub(super) fn stream_error(&self, source: io::Error) -> IngestError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            let what = if self.compression == Compression::None { "a member's data" } else { "the compressed data" };
            return self.bad(Problem::Truncated(what));
        }
        IngestError::Stream { compression: self.compression, source }
    }

    /// An error at the current header.
    pub(super) fn bad(&self, problem: Problem) -> IngestError {
        IngestError::Archive { at: self.at, member: None, problem }
    }

    /// An error of a member.
    pub(super) fn bad_member(&self, path: &[u8], problem: Problem) -> IngestError {
        IngestError::Archive { at: self.at, member: Some(ShownPath::new(path)), problem }
    }

    /// The next header. `None` at the end of the archive, which can only be where a member can start.
    fn header(&mut self, may_end: bool) -> Result<Option<Header>, IngestError> {
        self.at = self.position;
        match self.block("a header")? {
            None if self.position == 0 => Err(self.bad(Problem::Empty)),
            None if may_end && !self.allow_missing_end => Err(self.bad(Problem::NoEnd)),
            Some(block) if block != [0; BLOCK] => {
                let header = Header::new(block);
                let first = self.at == 0;
                header.map(Some).map_err(|why| self.bad(if first { Problem::NotTar } else { why }))
            }
            _ if !may_end => Err(self.bad(Problem::Dangling)),
            None => Ok(None),
            Some(_) => self.finish().map(|()| None),
        }
    }

    /// After a block of zeros: another must follow, or nothing. What comes after that is read, so that a damaged end of compressed data is noticed
    /// and a pipe's writer isn't cut off, and ignored.
    fn finish(&mut self) -> Result<(), IngestError> {
        if self.block("the end marker")?.is_some_and(|block| block != [0; BLOCK]) {
            return Err(self.bad(Problem::LoneZeros));
        }
        let drained = io::copy(&mut self.input, &mut io::sink());
        drained.map(drop).map_err(|source| self.stream_error(source))
    }

    /// The next block; `None` at the end of the input.
    fn block(&mut self, what: &'static str) -> Result<Option<[u8; BLOCK]>, IngestError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.bad(if self.at == 0 { Problem::NotTar } else { Problem::Truncated(what) })),
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stream_error(error)),
            }
        }
        self.position += BLOCK as u64;
        Ok(Some(block))
    }

    /// All data of an extended header.
    fn payload(&mut self, header: &Header) -> Result<Vec<u8>, IngestError> {
        let size = header.size().map_err(|problem| self.bad(problem))?;
        if size > self.limits.header_bytes {
            return Err(self.bad(Problem::HeaderTooLong(self.limits.header_bytes)));
        }
        self.begin_data(size);
        let mut payload = Vec::new();
        self.data().read_to_end(&mut payload).map_err(|source| self.stream_error(source))?;
        self.skip_data()?;
        Ok(payload)
    }

    fn begin_data(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip_data(&mut self) -> Result<(), IngestError> {
        let skipped = io::copy(&mut self.data(), &mut io::sink());
        skipped.map_err(|source| self.stream_error(source))?;
        self.left = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.data(), &mut io::sink());
        skipped.map(drop).map_err(|source| self.stream_error(source))
    }

    fn member(&mut self, header: &Header, prelude: Prelude) -> Result<Member, IngestError> {
        let mut pax = prelude.pax.unwrap_or_else(|| self.global.clone());
        let header_path = prelude.path.unwrap_or_else(|| header.path());
        let path = pax.sparse.name.take().or(pax.path.take()).unwrap_or(header_path);
        if path.len() as u64 > self.limits.path_bytes {
            let shown = &path[..path.len().min(200)];
            return Err(self.bad_member(shown, Problem::PathTooLong(self.limits.path_bytes)));
        }
        let link = pax.link.take().or(prelude.link).unwrap_or_else(|| header.link());
        let described = meta(header, &mut pax);
        let mut meta = described.map_err(|problem| self.bad_member(&path, problem))?;
        let what = self.what(header, pax, &path, link)?;
        if let What::Other(Content::Symlink(_)) = what {
            // Linux has no other, whatever programs write
            meta.mode = Mode::from_bits(0o777);
        }
        Ok(Member { path, meta, what })
    }

    fn what(&mut self, header: &Header, pax: Overrides, path: &[u8], link: Vec<u8>) -> Result<What, IngestError> {
        let what = match header.kind() {
            b'0' | 0 | b'7' if pax.file_type.as_deref() == Some(b"socket") => Ok(What::Other(Content::Socket)),
            b'0' | 0 | b'7' if path.ends_with(b"/") => Ok(What::Dir),
            b'0' | 0 | b'7' | b'S' => return self.file(header, pax, path),
            b'1' => Ok(What::HardLink(link)),
            b'2' => symlink(link),
            b'3' => device(header).map(|device| What::Other(Content::Char(device))),
            b'4' => device(header).map(|device| What::Other(Content::Block(device))),
            b'5' => Ok(What::Dir),
            b'6' => Ok(What::Other(Content::Fifo)),
            b'D' => {
                let size = header.size().map_err(|problem| self.bad_member(path, problem))?;
                self.begin_data(size);
                Ok(What::Dir)
            }
            kind => Err(Problem::Type(format!("'{}'", kind.escape_ascii()))),
        };
        what.map_err(|problem| self.bad_member(path, problem))
    }

    fn file(&mut self, header: &Header, pax: Overrides, path: &[u8]) -> Result<What, IngestError> {
        let size = pax.size.map_or_else(|| header.size(), Ok);
        let size = size.map_err(|problem| self.bad_member(path, problem))?;
        let pieces = if header.kind() == b'S' { Some(self.header_pieces(header, path)?) } else { None };
        self.begin_data(size);
        let form = match pieces {
            Some(pieces) => header.real_size().map(|size| Form::Map { size, pieces }),
            None => pax.sparse.form(),
        };
        let (size, pieces) = match form.map_err(|problem| self.bad_member(path, problem))? {
            Form::Whole => return Ok(What::File(size)),
            Form::Map { size, pieces } => (size, pieces),
            Form::MapInData { size } => (size, self.data_pieces(path)?),
        };
        let map = SparseMap::new(pieces, size, self.left).map_err(|problem| self.bad_member(path, problem))?;
        self.holes = self.holes.saturating_add(map.hole_bytes());
        if self.holes > self.limits.hole_bytes {
            return Err(IngestError::Limit { what: "bytes of holes in sparse files", limit: self.limits.hole_bytes });
        }
        Ok(What::Sparse(map))
    }

    /// The map of an old GNU sparse file.
    fn header_pieces(&mut self, header: &Header, path: &[u8]) -> Result<Vec<(u64, u64)>, IngestError> {
        let (mut pieces, mut more) = header.sparse().map_err(|problem| self.bad_member(path, problem))?;
        while more {
            let block =
                self.block("a sparse header")?.ok_or_else(|| self.bad(Problem::Truncated("a sparse header")))?;
            let (next, another) = sparse_block(&block).map_err(|problem| self.bad_member(path, problem))?;
            pieces.extend(next);
            more = another;
            self.check_map(pieces.len(), path)?;
        }
        Ok(pieces)
    }

    /// The map at the start of the data of a PAX 1.0 sparse file.
    fn data_pieces(&mut self, path: &[u8]) -> Result<Vec<(u64, u64)>, IngestError> {
        let mut text = MapText::default();
        for blocks in 1.. {
            let mut block = [0; BLOCK];
            if self.left < BLOCK as u64 {
                return Err(self.bad_member(path, Problem::Sparse("its map is cut short")));
            }
            self.data().read_exact(&mut block).map_err(|source| self.stream_error(source))?;
            if text.add(&block).map_err(|problem| self.bad_member(path, problem))? {
                break;
            }
            self.check_map(blocks * BLOCK / 2, path)?;
        }
        Ok(text.pieces())
    }

    /// Bounds the memory that a map takes.
    fn check_map(&self, pieces: usize, path: &[u8]) -> Result<(), IngestError> {
        if pieces as u64 > self.limits.header_bytes {
            return Err(self.bad_member(path, Problem::HeaderTooLong(self.limits.header_bytes)));
        }
        Ok(())
    }
}

/// Reads the data of the current member; an archive that ends within them is an error.
pub(super) struct Data<'a, R>(&'a mut Members<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.0.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let got = self.0.input.read(&mut buffer[..room])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.left -= got as u64;
        self.0.position += got as u64;
        Ok(got)
    }
}

fn until_nul(mut payload: Vec<u8>) -> Vec<u8> {
    let end = payload.iter().position(|&byte| byte == 0).unwrap_or(payload.len());
    payload.truncate(end);
    payload
}

fn symlink(target: Vec<u8>) -> Result<What, Problem> {
    const TARGET_MAX: usize = 4095;
    if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
        return Err(Problem::SymlinkTarget);
    }
    Ok(What::Other(Content::Symlink(target.into())))
}

fn device(header: &Header) -> Result<Device, Problem> {
    let (major, minor) = header.device()?;
    Ok(Device { major, minor })
}

fn meta(header: &Header, pax: &mut Overrides) -> Result<Meta, Problem> {
    // 2^32 - 1 stands for "no owner" in the kernel's interfaces
    let id = |number: u64, what| u32::try_from(number).ok().filter(|&id| id < u32::MAX).ok_or(Problem::Number(what));
    let uid = pax.uid.map_or_else(|| header.uid(), Ok)?;
    let gid = pax.gid.map_or_else(|| header.gid(), Ok)?;
    let mtime = match pax.mtime {
        Some(time) => time,
        None => Timestamp::new(header.mtime()?, 0).unwrap_or_default(),
    };
    Ok(Meta {
        mode: Mode::from_bits(header.mode()?),
        uid: id(uid, "owner")?,
        gid: id(gid, "group")?,
        mtime,
        xattrs: pax.take_xattrs()?,
    })
}
