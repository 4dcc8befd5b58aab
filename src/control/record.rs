//! The run record: one file per live mount, which tells what is mounted where and by which process.
//!
//! ```text
//! STORE/run/ID.json   the record; its process holds it under flock, so a lock that can be had means a dead mount
//!           ID.sock   the control socket      ID.log   what a daemon in the background logs
//! ```
//! Invariant: a record is whole once it has its name (written elsewhere, locked, then renamed). No clock and no process number decides
//! whether a mount lives.

use super::text::{escape, unescape};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What a mount's process writes down about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Names the files in `run/`.
    pub id: String,
    /// The process that serves the mount.
    pub pid: u32,
    /// Where it is mounted, in the mount namespace of that process.
    #[serde(with = "path_text")]
    pub mountpoint: PathBuf,
    /// What was asked for: a ref or digest.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The manifest's digest.
    pub manifest: String,
    /// `ro`, `layer` or `tmpfs`.
    pub mode: String,
    /// The layer's name, when it is kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub layer: Option<String>,
    /// When it was mounted, RFC 3339.
    pub since: String,
    /// Version of the program that serves it.
    pub version: String,
}

mod path_text {
    use super::*;
    use serde::{Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&escape(path.as_os_str().as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = unescape(&text).ok_or_else(|| D::Error::custom("a path with a bad escape"))?;
        Ok(OsString::from_vec(bytes).into())
    }
}

/// Paths of one mount in `run/`.
#[derive(Debug, Clone)]
pub struct RunFiles {
    /// The record.
    pub record: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// The log.
    pub log: PathBuf,
}

impl RunFiles {
    /// Those of mount `id`.
    pub fn new(run_dir: &Path, id: &str) -> Self {
        let file = |kind| run_dir.join(format!("{id}.{kind}"));
        Self { record: file("json"), socket: file("sock"), log: file("log") }
    }

    /// Removes them; absent ones are fine.
    pub fn remove(&self) {
        for path in [&self.socket, &self.log, &self.record] {
            // one that stays is a dead record, which the next mount removes
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A new id for a mount: sorts by time, and no two processes make the same.
pub fn new_id() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:011x}-{:x}", now.as_millis(), std::process::id())
}

/// The record of this process's mount; dropped, its files go.
#[derive(Debug)]
pub struct Held {
    files: RunFiles,
    _lock: Flock<File>,
}

impl Held {
    /// Writes the record and holds it.
    pub fn write(run_dir: &Path, record: &Record) -> io::Result<Self> {
        let files = RunFiles::new(run_dir, &record.id);
        let new = files.record.with_extension("json.new");
        let file = File::options().write(true).create_new(true).open(&new)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| io::Error::from(errno))?;
        let written = (&*lock).write_all(&serde_json::to_vec(record).map_err(io::Error::other)?);
        if let Err(error) = written.and_then(|()| std::fs::rename(&new, &files.record)) {
            // the first error is the one to tell
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
        Ok(Self { files, _lock: lock })
    }

    /// Its files.
    pub fn files(&self) -> &RunFiles {
        &self.files
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.files.remove();
    }
}

/// A record found in `run/`.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it says.
    pub record: Record,
    /// Whether its process still holds it.
    pub alive: bool,
    /// Its files.
    pub files: RunFiles,
}

/// All records, by id. One that disappears meanwhile is left out; one that can't be read is an error.
pub fn list(run_dir: &Path) -> io::Result<Vec<Found>> {
    let entries = match std::fs::read_dir(run_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(run_dir, error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| named(run_dir, e))?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) {
            all.extend(read(run_dir, id)?);
        }
    }
    all.sort_by(|a, b| a.record.id.cmp(&b.record.id));
    Ok(all)
}

fn read(run_dir: &Path, id: &str) -> io::Result<Option<Found>> {
    let files = RunFiles::new(run_dir, id);
    let file = match File::open(&files.record) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(&files.record, error)),
    };
    let record = serde_json::from_reader(&file).map_err(|e| named(&files.record, e.into()))?;
    let alive = is_held(file).map_err(|e| named(&files.record, e))?;
    Ok(Some(Found { record, alive, files }))
}

/// Whether a process holds the record open as `file`.
fn is_held(file: File) -> io::Result<bool> {
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, errno)) => Err(errno.into()),
    }
}

impl Found {
    /// Whether its process holds it at this moment.
    pub fn still_alive(&self) -> io::Result<bool> {
        match File::open(&self.files.record) {
            Ok(file) => is_held(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(named(&self.files.record, error)),
        }
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            pid: std::process::id(),
            mountpoint: OsString::from_vec(b"/mnt/\xff\\".to_vec()).into(),
            reference: "debian".into(),
            manifest: "ab".repeat(32),
            mode: "layer".into(),
            layer: Some("work".into()),
            since: "2025-01-01T00:00:00Z".into(),
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn a_held_record_is_alive_and_goes_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let held = Held::write(dir.path(), &record("a")).unwrap();
        let found = list(dir.path()).unwrap();
        assert_eq!(found[0].record, record("a"));
        assert!(found[0].alive && found[0].still_alive().unwrap());
        drop(held);
        assert!(list(dir.path()).unwrap().is_empty());
        assert!(!found[0].still_alive().unwrap());
    }

    #[test]
    fn a_record_that_nobody_holds_is_dead_and_garbage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.json"), serde_json::to_vec(&record("b")).unwrap()).unwrap();
        assert!(!list(dir.path()).unwrap()[0].alive);
        std::fs::write(dir.path().join("c.json"), b"{").unwrap();
        let error = list(dir.path()).unwrap_err().to_string();
        assert!(error.contains("c.json"), "{error}");
        assert!(list(&dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn ids_differ_in_time_and_name_files() {
        assert!(RunFiles::new(Path::new("/r"), &new_id()).socket.starts_with("/r"));
    }
}
