//! Going into the background: the command starts itself again and waits for that process to say that the mount answers.
//!
//! ```text
//! command                          process in the background (new session, `run/ID.log` as standard error)
//!   starts it, its stdout a pipe ──▶ mounts, waits until the mount answers
//!   reads one line           ◀────── {"ready":RECORD} or {"failed":ERROR}; then its stdout becomes /dev/null
//!   exits accordingly                serves until it is unmounted
//! ```
//! A process that ends without a line is reported with the last lines of its log. A command that is gone before the line is written makes the
//! mount go away again, for it failed as far as anyone knows.

use crate::cli::error::{Doing as _, Error, Result};
use crate::cli::exit::Exit;
use crate::store::{MountRecord, Store};
use crate::sys::failure::is_full;
use nix::unistd::{dup2_stdout, setsid};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the process in the background says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ready(Box<MountRecord>),
    Failed(Error),
}

/// Lines of the log that an early end is reported with.
const LOG_LINES: usize = 8;

/// Starts this program again with `args`, and waits until it has mounted or failed.
pub(super) fn start(args: &[OsString], store: &Store, id: &str) -> Result<MountRecord> {
    let system = |what: &str, error: io::Error| Error { exit: Exit::System, ..Error::of(what, &error) };
    let (log, log_path) = open_log(store, id)?;
    let program = std::env::current_exe().map_err(|e| system("find this program to start it again", e))?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|e| system("start the process that serves the mount", e))?;
    match listen(&mut child) {
        Some(Word::Ready(record)) => Ok(*record),
        Some(Word::Failed(error)) => {
            remove(&log_path);
            Err(error)
        }
        None => Err(early_end(&mut child, &log_path)),
    }
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

fn listen(child: &mut Child) -> Option<Word> {
    let mut line = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn early_end(child: &mut Child, log_path: &Path) -> Error {
    let how = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
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

/// The background's side, begun before anything else is done.
pub(super) struct Background(());

impl Background {
    /// Leaves the terminal's session, so that it can't be stopped from there, and lets go of all that was inherited.
    pub(super) fn enter() -> Self {
        crate::sys::daemon::close_inherited();
        // it fails only for a process that leads its group already, as one started from a shell with -f would
        let _ = setsid();
        // nothing keeps the directory from being unmounted or removed
        let _ = std::env::set_current_dir("/");
        Self(())
    }

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
