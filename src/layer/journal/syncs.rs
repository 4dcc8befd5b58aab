//! Failed syncs of the journals. fsync(2) tells each open file of a failed write-back once. A [`Witness`] has files of its own, so that it hears of
//! every failure, whoever else was told of it. After one the journals are written anew ([`rewrite`]): a hole in one takes all behind it.

use super::{data_error, journals};
use crate::layer::error::LayerError;
use crate::sys::sparse;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Read and written at a time when a journal is copied.
const CHUNK: usize = 1 << 16;

/// Hears of failed write-backs of the journals that were there when it was made.
pub(in crate::layer) struct Witness(Vec<(PathBuf, File)>);

impl Witness {
    pub(in crate::layer) fn new(index: &Path) -> io::Result<Self> {
        let open = |path: PathBuf| File::open(&path).map(|file| (path, file));
        Ok(Self(journals(index)?.into_iter().map(|(_, path)| open(path)).collect::<io::Result<_>>()?))
    }

    /// An error when a journal that is there now is not known to be on disk.
    pub(in crate::layer) fn check(&self, index: &Path) -> io::Result<()> {
        for (_, path) in journals(index)? {
            match self.0.iter().find(|(known, _)| *known == path) {
                Some((_, file)) => file.sync_all()?,
                None => return Err(io::Error::other("a journal was begun of which it isn't known")),
            }
        }
        Ok(())
    }
}

/// Writes the journals of a closed database into new files, from what the kernel still has of them, and puts those on disk in their places.
pub(in crate::layer) fn rewrite(index: &Path) -> Result<(), LayerError> {
    let failed = |path: &Path| data_error("write anew, after it couldn't be written to its disk,", path);
    for (_, path) in journals(index).map_err(failed(index))? {
        tracing::warn!(path = %path.display(), "writing a journal of the layer database anew, for it couldn't be written");
        let new = path.with_extension("jnl.new");
        let written = copy(&path, &new).and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            // What stays is overwritten the next time.
            let _removed = fs::remove_file(&new);
        }
        written.map_err(failed(&path))?;
    }
    File::open(index).and_then(|folder| folder.sync_all()).map_err(failed(index))
}

/// By reading and writing: a reflink would share just the bytes that are in doubt.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let to = File::create(to)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                sparse::write(&to, at, &buffer[..count])?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    to.set_len(at)?;
    to.sync_all()
}
