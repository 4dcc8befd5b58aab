//! Brings the content of members to the workers: short files whole, long ones in pieces while they are read.

use super::members::Members;
use super::tree::LeafIndex;
use crate::format::Digest;
use crate::ingest::pool::Pool;
use crate::ingest::{IngestError, Progress, Tally};
use crate::store::Writer;
use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;
use std::io::{self, Read};

/// Files up to this long are queued whole.
const SMALL: u64 = 256 * 1024;
const PIECE: usize = 64 * 1024;
/// Pieces of a long file that wait for its worker.
const PIECES: usize = 16;

/// A file to store.
pub(super) struct ContentJob {
    leaf: LeafIndex,
    source: Source,
}

enum Source {
    Whole(Vec<u8>),
    Pieces { size: u64, pieces: Receiver<Vec<u8>> },
}

/// What a worker needs, and where it puts what it made.
pub(super) struct ContentWorker<'a> {
    pub(super) writer: &'a Writer,
    pub(super) tally: &'a Tally,
    pub(super) progress: &'a Progress,
    pub(super) stored: Mutex<Vec<(LeafIndex, Digest, u64)>>,
}

impl ContentWorker<'_> {
    pub(super) fn work(&self, job: ContentJob) -> Result<(), IngestError> {
        let put = match job.source {
            Source::Whole(bytes) => self.writer.put_bytes(&bytes)?,
            Source::Pieces { size, pieces } => {
                let mut reader = PieceReader { pieces, left: size, piece: Vec::new(), at: 0, cut: false };
                let put = self.writer.put_reader(&mut reader);
                // the reader of the archive knows why its data ended early
                if reader.cut {
                    return Err(IngestError::Stopped);
                }
                put?
            }
        };
        self.tally.count_blob(&put);
        self.progress.add_bytes(put.size);
        self.stored.lock().push((job.leaf, put.digest, put.size));
        Ok(())
    }
}

/// Reads `size` bytes of content, which `source` makes of the current member's data, and hands them to a worker.
pub(super) fn send<'m, R: Read, S: Read>(
    members: &'m mut Members<R>,
    source: impl FnOnce(super::members::Data<'m, R>) -> S,
    size: u64,
    leaf: LeafIndex,
    pool: &Pool<'_, ContentJob>,
) -> Result<(), SendError> {
    let mut source = source(members.data());
    if size <= SMALL {
        let bytes = piece(&mut source, size)?;
        let job = ContentJob { leaf, source: Source::Whole(bytes) };
        return pool.submit(job).map_err(SendError::Other);
    }
    let (sender, pieces) = bounded(PIECES);
    let job = ContentJob { leaf, source: Source::Pieces { size, pieces } };
    pool.submit(job).map_err(SendError::Other)?;
    let mut left = size;
    while left > 0 {
        let next = piece(&mut source, left.min(PIECE as u64))?;
        left -= next.len() as u64;
        sender.send(next).map_err(|_| SendError::Other(IngestError::Stopped))?;
    }
    Ok(())
}

/// Why content couldn't be handed on.
pub(super) enum SendError {
    /// The archive's data.
    Read(io::Error),
    /// Anything else.
    Other(IngestError),
}

/// Exactly the next `length` bytes.
fn piece(source: &mut impl Read, length: u64) -> Result<Vec<u8>, SendError> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    source.read_exact(&mut bytes).map_err(SendError::Read)?;
    Ok(bytes)
}

/// A long file as its pieces arrive. An end before all have arrived is an error, so that no part of a file is ever stored as a file.
struct PieceReader {
    pieces: Receiver<Vec<u8>>,
    left: u64,
    piece: Vec<u8>,
    at: usize,
    cut: bool,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.piece = self.pieces.recv().map_err(|_| {
                self.cut = true;
                io::Error::from(io::ErrorKind::UnexpectedEof)
            })?;
            self.at = 0;
        }
        let got = (&self.piece[self.at..]).read(buffer)?;
        self.at += got;
        self.left -= got as u64;
        Ok(got)
    }
}
