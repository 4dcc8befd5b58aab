//! Recognises how an archive is compressed by its first bytes, and decompresses it.

use super::Problem;
use crate::ingest::{IngestError, Progress};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// How an archive is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one or several members.
    Gzip,
    /// Zstandard, one or several frames.
    Zstd,
    /// xz, one or several streams.
    Xz,
}

/// Memory that an xz stream may demand for its dictionary.
const XZ_MEMORY: u64 = 1 << 30;
const BUFFER: usize = 256 * 1024;
const HEAD: usize = 8;

impl Compression {
    /// Its name, if there is any.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Xz => Some("xz"),
        }
    }

    fn detect(head: &[u8]) -> Result<Self, Problem> {
        const OTHERS: &[(&[u8], &str)] = &[
            (b"BZh", "a bzip2 file"),
            (b"LZIP", "an lzip file"),
            (b"\x04\x22\x4d\x18", "an lz4 file"),
            (b"\x1f\x9d", "a compress (.Z) file"),
            (b"PK\x03\x04", "a zip file"),
            (b"!<arch>\n", "an ar archive, such as a .deb package"),
            (b"070701", "a cpio archive"),
            (b"hsqs", "a squashfs image"),
        ];
        if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(Problem::Unsupported(what));
        }
        Ok(match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        })
    }
}

/// The decompressed bytes of `input`, whose own bytes `progress` counts.
pub(super) fn open<'a>(
    input: impl Read + 'a,
    progress: &'a Progress,
) -> Result<(Compression, Box<dyn Read + 'a>), IngestError> {
    let mut input = Counted { input, progress };
    let mut head = Vec::with_capacity(HEAD);
    let read = input.by_ref().take(HEAD as u64).read_to_end(&mut head);
    read.map_err(|source| IngestError::Stream { compression: Compression::None, source })?;
    let compression =
        Compression::detect(&head).map_err(|problem| IngestError::Archive { at: 0, member: None, problem })?;
    let buffered = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(input));
    let decoder = decoder(compression, buffered).map_err(|source| IngestError::Stream { compression, source })?;
    Ok((compression, decoder))
}

fn decoder<'a>(compression: Compression, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER, Gzip(Some(GzDecoder::new(input))))),
        Compression::Zstd => Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::with_buffer(input)?)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(BufReader::with_capacity(BUFFER, liblzma::bufread::XzDecoder::new_stream(input, stream)))
        }
    })
}

/// All members of a gzip file. What follows the last and isn't a member is ignored, as gzip(1) does: tapes and images pad with zeros.
struct Gzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            match member.read(buffer)? {
                0 if !buffer.is_empty() => {
                    let mut rest = match self.0.take() {
                        Some(member) => member.into_inner(),
                        None => return Ok(0),
                    };
                    if matches!(rest.fill_buf()?, [0x1f] | [0x1f, 0x8b, ..]) {
                        self.0 = Some(GzDecoder::new(rest));
                    }
                }
                got => return Ok(got),
            }
        }
        Ok(0)
    }
}

struct Counted<'a, R> {
    input: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.progress.add_input(got as u64);
        Ok(got)
    }
}
