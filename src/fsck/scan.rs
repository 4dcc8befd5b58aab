//! Reads everything that a layer says, without changing a byte of it.
//!
//! Opening the database changes its files, so a copy is opened, in memory: journals and small files are copied, tables, which are never
//! written again once they are there, are symbolic links. The database library may panic on bytes that its checksums don't
//! cover; it is called on a thread of its own, and a panic there is a finding like any other. Some of its panics abort the process: a [`super::Host`]
//! tries it in another first.

use super::FsckError;
use super::problem::Found;
use super::state::{BadName, Blocks, State};
use crate::format::{Ino, NameBuf};
use crate::layer::memory::Memory;
use crate::layer::{
    CHUNK_BLOCKS, Chunk, DataDir, DataId, InodeRecord, Inspected, LayerError, Listed, NameRecord, Partial, Space,
    parse_chunk_key,
};
use crate::sys::sparse;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The name of the threads that call the database library: their panics are told as findings.
const THREAD: &str = "fsck-database";

/// Whether a thread of that name reads the database for a check: what it panics with is told in the report.
pub fn is_database_thread(name: &str) -> bool {
    name == THREAD || name.starts_with("fjall")
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Everything that the layer in folder `layer` says; or why it can't be told, which is for nobody to mend.
pub(super) fn scan(layer: &Path) -> Result<Result<State, Found>, FsckError> {
    fs::metadata(layer).map_err(FsckError::io("examine", layer))?;
    let copy = Memory::new(0)?;
    copy_database(layer, copy.path())?;
    let journals = journals(copy.path())?;
    let mut state = match apart(|| read(copy.path(), layer)) {
        Ok(Ok(state)) => state,
        Ok(Err(error)) => return Ok(Err(Found::database(&named_as(&error, copy.path(), layer)))),
        Err(panic) => return Ok(Err(Found::database_panic(&layer.join("index"), &panic))),
    };
    state.cut = cut_off(&journals);
    state.was_cut = state.cut > 0 || state.missing > 0 || state.journal_damaged;
    list_files(layer, &mut state)?;
    Ok(Ok(state))
}

/// What an error says, of the layer in place of the copy that was read.
fn named_as(error: &LayerError, copy: &Path, layer: &Path) -> String {
    error.to_string().replace(&copy.display().to_string(), &layer.display().to_string())
}

/// Runs `work` on a thread of its own. A panic is returned as its text.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn_scoped(scope, work);
        thread.map_err(|error| error.to_string())?.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given").to_owned()
        })
    })
}

fn copy_database(layer: &Path, to: &Path) -> Result<(), FsckError> {
    copy_folder(&layer.join("index"), &to.join("index"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), FsckError> {
    fs::create_dir(to).map_err(FsckError::io("create", to))?;
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(FsckError::io("list", from))?,
    };
    let is_tables = from.file_name().is_some_and(|name| name == "tables");
    for entry in entries {
        let entry = entry.map_err(FsckError::io("list", from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(FsckError::io("examine", &path))?;
        if kind.is_dir() {
            copy_folder(&path, &copy)?;
        } else if is_tables {
            let path = std::path::absolute(&path).map_err(FsckError::io("examine", &path))?;
            symlink(&path, &copy).map_err(FsckError::io("link to", path))?;
        } else if kind.is_file() {
            copy_file(&path, &copy)?;
        }
    }
    Ok(())
}

/// Copies a file with its holes; one that isn't there isn't copied.
fn copy_file(from: &Path, to: &Path) -> Result<(), FsckError> {
    let source = match fs::File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        source => source.map_err(FsckError::io("open", from))?,
    };
    let target = fs::File::create_new(to).map_err(FsckError::io("create", to))?;
    crate::sys::copy::copy_prefix(&source, &target, u64::MAX).map_err(FsckError::io("copy", from))?;
    Ok(())
}

/// The journals of the database in `folder`, each with where its last byte is that isn't zero: the database makes them long beforehand.
fn journals(folder: &Path) -> Result<Vec<(PathBuf, u64)>, FsckError> {
    let index = folder.join("index");
    let mut all = Vec::new();
    for entry in fs::read_dir(&index).map_err(FsckError::io("list", &index))? {
        let path = entry.map_err(FsckError::io("list", &index))?.path();
        if path.extension().is_some_and(|kind| kind == "jnl") {
            let end = fs::File::open(&path).and_then(|file| end_of_content(&file));
            all.push((path.clone(), end.map_err(FsckError::io("read", path))?));
        }
    }
    Ok(all)
}

/// Bytes of `journals` that aren't in them any more, now that the database was opened. One that is gone was read whole.
fn cut_off(journals: &[(PathBuf, u64)]) -> u64 {
    let left = |path: &Path| fs::metadata(path).map_or(u64::MAX, |metadata| metadata.len());
    journals.iter().map(|(path, end)| end.saturating_sub(left(path))).sum()
}

/// After the last byte that isn't zero.
fn end_of_content(file: &fs::File) -> io::Result<u64> {
    let mut at = file.metadata()?.len();
    let mut buffer = vec![0; 64 << 10];
    while at > 0 {
        let length = at.min(buffer.len() as u64);
        let chunk = &mut buffer[..length as usize];
        file.read_exact_at(chunk, at - length)?;
        // Compared as a whole first, for most of it is zeros.
        if chunk != &ZEROS[..chunk.len()] {
            let last = chunk.iter().rposition(|&byte| byte != 0).unwrap_or(0);
            return Ok(at - length + last as u64 + 1);
        }
        at -= length;
    }
    Ok(0)
}

fn read(folder: &Path, layer: &Path) -> Result<State, LayerError> {
    let inspected = Inspected::open(folder, layer)?;
    let (inodes, names) = std::thread::scope(|scope| {
        // Where no thread is to be had, one reads after the other.
        let other = std::thread::Builder::new().name(THREAD.to_owned());
        match other.spawn_scoped(scope, || read_names(&inspected)) {
            Ok(names) => {
                let inodes = read_inodes(&inspected);
                (inodes, names.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            }
            Err(_) => (read_inodes(&inspected), read_names(&inspected)),
        }
    });
    let (mut state, names) = (inodes?, names?);
    state.names = names.names;
    state.bad_names = names.bad_names;
    state.bad_keys.extend(names.bad_keys);
    inspected.each_chunk(|key, value| {
        let blocks = Blocks { of: parse_chunk_key(key), chunk: Chunk::decode(value), guess: None };
        state.chunks.insert(key.into(), blocks);
    })?;
    state.knows_partial = inspected.knows_partial;
    state.closed = inspected.closed;
    state.power_cut = inspected.power_cut;
    state.journal_damaged = inspected.damaged;
    state.missing = inspected.missing;
    state.reserved = inspected.reserved;
    Ok(state)
}

fn read_inodes(inspected: &Inspected) -> Result<State, LayerError> {
    let mut state = State::default();
    inspected.each_inode(|key, value| match <[u8; 8]>::try_from(key) {
        Err(_) => state.bad_keys.push((Space::Inodes, key.into())),
        Ok(number) => {
            let ino = Ino(u64::from_be_bytes(number));
            match InodeRecord::decode(value) {
                Ok(record) => drop(state.inodes.insert(ino, record)),
                Err(why) => drop(state.bad_inodes.insert(ino, why)),
            }
        }
    })?;
    Ok(state)
}

fn read_names(inspected: &Inspected) -> Result<State, LayerError> {
    let mut state = State::default();
    inspected.each_name(|key, value| {
        let split = key.split_first_chunk::<8>();
        let named = split.and_then(|(dir, name)| Some((Ino(u64::from_be_bytes(*dir)), NameBuf::new(name).ok()?)));
        let Some((dir, name)) = named else {
            return state.bad_keys.push((Space::Names, key.into()));
        };
        match NameRecord::decode(value) {
            Ok(record) => drop(state.names.entry(dir).or_default().insert(name, record)),
            Err(why) => state.bad_names.push(BadName { dir, name, why }),
        }
    })?;
    Ok(state)
}

fn list_files(layer: &Path, state: &mut State) -> Result<(), FsckError> {
    let path = layer.join("data");
    if !path.try_exists().map_err(FsckError::io("examine", &path))? {
        return Ok(());
    }
    let data = DataDir::open(path)?;
    data.each(&mut |listed| {
        match listed {
            Listed::Foreign(path) => state.foreign.push(path),
            Listed::Data(id) => {
                let metadata = data.metadata(id)?;
                if metadata.blocks() * 512 < metadata.len() {
                    state.sparse.insert(id);
                }
                if metadata.is_file() {
                    state.files.insert(id)
                } else {
                    state.no_files.insert(id)
                };
            }
        }
        Ok(())
    })?;
    guess_blocks(&data, state);
    Ok(())
}

/// Finds out which blocks may be held where the layer can't tell: those in which the data file has anything.
fn guess_blocks(data: &DataDir, state: &mut State) {
    for blocks in state.chunks.values_mut().filter(|blocks| blocks.chunk.is_err()) {
        let Some((id, number)) = blocks.of else { continue };
        let partial = state.inodes.get(&id.ino).and_then(InodeRecord::partial);
        let Some((_, partial)) = partial.filter(|(generation, _)| *generation == id.generation) else { continue };
        blocks.guess = held_by_data(data, id, number, partial).ok();
    }
}

fn held_by_data(data: &DataDir, id: DataId, number: u32, partial: Partial) -> io::Result<Chunk> {
    let file = fs::File::open(data.file_path(id))?;
    let mut chunk = Chunk::default();
    for index in 0..CHUNK_BLOCKS {
        let from = (u64::from(number) * CHUNK_BLOCKS + index) << partial.shift;
        let Some(found) = sparse::data(&file, from)? else { break };
        if found < from + (1 << partial.shift) {
            chunk.hold(index);
        }
    }
    // What the file has on disk is there.
    chunk.settle(&chunk.clone());
    Ok(chunk)
}
