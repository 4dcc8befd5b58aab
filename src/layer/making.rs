//! Makes the database of a new layer, and of no other: for one that was used, an empty database would pass the base off as its content.
//!
//! A layer is new while it has the file `new`, which comes with its folder. The database is made, stamped and put on disk; then `new` goes,
//! durably, before anything is changed in the layer. So without `new` there was a database, and one that is missing is damage. What a crash leaves:
//!
//! | when | what is there | what opening does |
//! |---|---|---|
//! | after the folder was made | `new`, an empty `index/` or none | makes the database |
//! | while the database is made | `new`, any part of a database | makes it anew: nothing was ever changed in it |
//! | before `new` goes | `new`, the database | the same |
//! | after | the database | opens it |
//!
//! A `new` that turns up later, as from a backup, means nothing: a layer that was recovered once (it has `instance`), or has data files, or more
//! batches than the first isn't new.

use super::data::{DataDir, Listed};
use super::db::{self, Db};
use super::error::{LayerError, Part};
use super::{instance, journal, mark};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

fn marker(layer: &Path) -> PathBuf {
    layer.join("new")
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayerError + use<> {
    let path = path.to_owned();
    move |source| LayerError::Data { action, path, source }
}

fn exists(path: &Path) -> Result<bool, LayerError> {
    path.try_exists().map_err(failed("examine", path))
}

fn sync(folder: &Path) -> Result<(), LayerError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

/// Makes the folder of a layer that nobody else made. One that is there and empty is a new layer too.
pub(super) fn prepare(layer: &Path) -> Result<(), LayerError> {
    fs::create_dir_all(layer).map_err(failed("create", layer))?;
    let mut entries = fs::read_dir(layer).map_err(failed("list", layer))?;
    if entries.next().is_none() {
        let path = marker(layer);
        File::create(&path).map_err(failed("create", &path))?;
        sync(layer)?;
    }
    Ok(())
}

/// Whether no database was ever in use in the layer.
fn is_new(layer: &Path) -> Result<bool, LayerError> {
    if !exists(&marker(layer))? || instance::is_recorded(layer)? {
        return Ok(false);
    }
    let data = layer.join("data");
    let mut empty = true;
    if exists(&data)? {
        DataDir::open(data)?.each(&mut |listed| {
            empty &= !matches!(listed, Listed::Data(_));
            Ok(())
        })?;
    }
    Ok(empty && journal::batches(&layer.join("index"))? <= 1)
}

/// Opens the database in folder `path`, which is `layer`'s folder or a copy of its database; or makes that of a new layer.
pub(super) fn open_db(path: &Path, layer: &Path) -> Result<Db, LayerError> {
    let index = path.join("index");
    let db = if is_new(layer)? { make(&index)? } else { open(&index)? };
    let marker = marker(layer);
    if path == layer && exists(&marker)? {
        // The database's folder first.
        sync(layer)?;
        fs::remove_file(&marker).map_err(failed("remove", &marker))?;
        sync(layer)?;
    }
    Ok(db)
}

fn make(index: &Path) -> Result<Db, LayerError> {
    match fs::remove_dir_all(index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(failed("remove what is left of", index))?,
    }
    mark::forget(index)?;
    let db = Db::open(index)?;
    db.stamp()?;
    Ok(db)
}

fn open(index: &Path) -> Result<Db, LayerError> {
    let gone = |part| Err(LayerError::Gone { path: index.to_owned(), part });
    if !exists(&index.join(db::VERSION_FILE))? {
        return gone(Part::Database);
    }
    // The database would make another one, and say what it said long ago.
    if !journal::exists(index)? {
        return gone(Part::Journal);
    }
    let db = Db::open(index)?;
    if db.is_whole()? { Ok(db) } else { gone(Part::Keyspace) }
}
