//! Going into the background: the command forks and waits for that process to say that the mount answers. It isn't started anew, for starting takes as
//! long as mounting.
//!
//! ```text
//! command                          process in the background (new session, `run/ID.log` as standard error)
//!   forks, its stdout a pipe     ──▶ mounts, waits until the mount answers
//!   reads one line           ◀────── {"ready":RECORD} or {"failed":ERROR}; then its stdout becomes /dev/null
//!   exits accordingly                serves until it is unmounted
//! ```
//! A process that ends without a line is reported with the last lines of its log. A command that is gone before the line is written makes the
//! mount go away again, for it failed as far as anyone knows.

use crate::cli::error::{Doing as _, Error, Result};
use crate::cli::exit::Exit;
use crate::store::{MountRecord, Store};
use crate::sys::daemon::{Fork, end_of, fork_alone};
use crate::sys::failure::is_full;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, Write as _};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What the process in the background says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ready(Box<MountRecord>),
    Failed(Error),
}

/// Lines of the log that an early end is reported with.
const LOG_LINES: usize = 8;

/// Which of the two processes this is.
pub(super) enum Side {
    /// The mount answers.
    Command(Box<MountRecord>),
    /// It is to be made and served here, under this id.
    Background(Background, String),
}

/// Forks, and waits in the command until the process in the background has mounted or failed. This process may have no other threads.
pub(super) fn start(store: Store, id: String) -> Result<Side> {
    let system = |what: &str, error: io::Error| Error { exit: Exit::System, ..Error::of(what, &error) };
    let doing = "start the process that serves the mount";
    let (log, log_path) = open_log(&store, &id)?;
    // Its locks' files aren't used across a fork, and all that is open goes in the background.
    drop(store);
    let null = File::open("/dev/null").map_err(|e| system(doing, e))?;
    let (heard, said) = io::pipe().map_err(|e| system(doing, e))?;
    match fork_alone().map_err(|e| system(doing, e))? {
        Fork::Child => {
            enter([null.into(), said.into(), log.into()], heard.into()).map_err(|e| system(doing, e))?;
            Ok(Side::Background(Background(()), id))
        }
        Fork::Parent(child) => {
            // Else the end of the process in the background wouldn't be heard.
            drop(said);
            match listen(heard) {
                Some(Word::Ready(record)) => Ok(Side::Command(record)),
                Some(Word::Failed(error)) => {
                    remove(&log_path);
                    Err(error)
                }
                None => Err(early_end(child, &log_path)),
            }
        }
    }
}

/// Makes these standard input, output and error, lets go of all else that was inherited, and leaves the terminal's session, so that the process can't
/// be stopped from there.
fn enter(standard: [OwnedFd; 3], other: OwnedFd) -> io::Result<()> {
    let [input, output, error] = &standard;
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(error)?;
    // Closed with all else, by number.
    let _numbers = (standard.map(IntoRawFd::into_raw_fd), other.into_raw_fd());
    crate::sys::daemon::close_inherited();
    // It fails only for a process that leads its group, which a child doesn't.
    let _ = setsid();
    // nothing keeps the directory from being unmounted or removed
    let _ = std::env::set_current_dir("/");
    Ok(())
}

/// In the store, or beside other programs' temporary files when the store can't be written.
fn open_log(store: &Store, id: &str) -> Result<(File, PathBuf)> {
    let path = store.log_path(id);
    let log = match File::options().create(true).append(true).open(&path) {
        Err(error) if is_full(&error) || error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let spare = spare_log_path(id);
            // Others may write there too: nothing that is there already is opened.
            match File::options().create_new(true).append(true).mode(0o600).open(&spare) {
                Ok(log) => return Ok((log, spare)),
                Err(_) => Err(error),
            }
        }
        log => log,
    };
    Ok((log.doing(|| format!("write the log {}", path.display()))?, path))
}

fn spare_log_path(id: &str) -> PathBuf {
    std::env::temp_dir().join(format!("cairnfs-{id}.log"))
}

/// Where the log of a mount is.
pub(super) fn log_path(store: &Store, id: &str) -> PathBuf {
    let spare = spare_log_path(id);
    if spare.exists() { spare } else { store.log_path(id) }
}

fn listen(heard: PipeReader) -> Option<Word> {
    let mut line = String::new();
    BufReader::new(heard).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn early_end(child: Pid, log_path: &Path) -> Error {
    let how = end_of(child).map_or_else(|e| e.to_string(), |status| status.to_string());
    let log = std::fs::read(log_path).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    remove(log_path);
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
    let error = Error::new(Exit::System, "the process that serves the mount ended early").because(how);
    match last.is_empty() {
        true => error.help("run it again with -f to see what it does"),
        false => {
            error.because(format!("its log ends with:\n  {last}")).help("run it again with -f to see all that it says")
        }
    }
}

fn remove(log: &Path) {
    // an empty log that stays does no harm
    let _ = std::fs::remove_file(log);
}

/// The background's side.
pub(super) struct Background(());

impl Background {
    /// Tells the waiting command that the mount answers; an error when nobody waits any more.
    pub(super) fn ready(&self, record: &MountRecord) -> Result<()> {
        let doing = || "tell the command that the mount is ready";
        self.say(&Word::Ready(Box::new(record.clone()))).doing(doing)?;
        let null = File::options().write(true).open("/dev/null").doing(doing)?;
        dup2_stdout(null).map_err(io::Error::from).doing(doing)
    }

    /// Tells it that the mount failed.
    pub(super) fn failed(&self, error: &Error) {
        if let Err(unheard) = self.say(&Word::Failed(error.clone())) {
            tracing::error!("{error}; and nobody waits to be told: {unheard}");
        }
    }

    fn say(&self, word: &Word) -> io::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    }
}
