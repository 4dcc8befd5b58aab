//! `cairnfs umount`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::mounts;
use crate::control::client;
use crate::control::text::escape_path;
use crate::fuse;
use crate::store::{MountInfo, Store};
use crate::sys::process::Process;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  cairnfs umount /mnt
  cairnfs umount /mnt --lazy      now, though it is in use; it ends when the last user lets go

It also clears away a mount whose process has died.";

/// Unmounts, once all changes are on disk, and waits until the process that served the mount has ended: the layer can be used again at once.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Detach it though it is in use; don't wait for its end
    #[arg(short, long)]
    pub lazy: bool,
}

/// How long the process of the mount may take to write its last and end.
const END_MAX: Duration = Duration::from_secs(60);
/// How long the process of the mount may take to put changes on disk before it is unmounted regardless: it syncs again at its end.
const SYNC_MAX: Duration = Duration::from_secs(120);
/// The same when the mount is wanted away at once.
const SYNC_MAX_LAZY: Duration = Duration::from_secs(2);
/// How long a process is given whose mount isn't to be seen: it is ending, or mounted elsewhere.
const ENDING: Duration = Duration::from_secs(5);
/// How long a mount that is busy is tried again.
const BUSY_MAX: Duration = Duration::from_millis(300);

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let path = mounts::resolve(&args.dir)?;
    let store = context.open()?;
    let found = mounts::find_at(&store, &path)?;
    if !mounts::is_mounted(&path).doing(|| "read the list of mounts")? {
        return not_mounted(context, &store, &path, found);
    }
    let ending = found.as_ref().map(|found| Ending::of(&store, found));
    if let Some(found) = found.as_ref().filter(|found| found.alive) {
        // a failure to sync is told, but an unmount that fails for it would leave no way out: the process syncs again at its end
        let limit = if args.lazy { SYNC_MAX_LAZY } else { SYNC_MAX };
        if let Err(error) = client::ask_within(&found.record.socket, "sync", Some(limit)) {
            context.out.warn(&format!("the mount's changes couldn't be put on disk beforehand: {error}"));
        }
    }
    detach_once_free(&path, args.lazy)?;
    if let (Some(ending), false) = (ending, args.lazy) {
        ending.wait()?;
    }
    done(context, &path)
}

fn done(context: &Context, path: &Path) -> Result<()> {
    context.out.done(&json!({ "mountpoint": escape_path(path) }), || format!("{} is unmounted", path.display()))
}

/// Nothing is mounted there: a record of a dead mount is cleared away.
fn not_mounted(context: &Context, store: &Store, path: &Path, found: Option<MountInfo>) -> Result<()> {
    match found {
        Some(found) if !found.alive => {
            forget(store, &found)?;
            done(context, path)
        }
        // unmounted a moment ago, and about to end
        Some(found) if Ending::of(store, &found).is_over_within(ENDING).unwrap_or(false) => done(context, path),
        Some(found) => {
            let error = Error::new(Exit::NotFound, format!("can't unmount {}", path.display()));
            let why = format!("it is mounted in another mount namespace, that of process {}", found.record.pid);
            Err(error.because(why).help(format!("`nsenter -t {} -m umount {}`", found.record.pid, path.display())))
        }
        None => {
            let error = Error::new(Exit::NotFound, format!("can't unmount {}", path.display()));
            Err(error.because("no cairnfs is mounted there").help("`cairnfs mounts` lists the mounts of the store"))
        }
    }
}

/// Two who unmount at once are in each other's way: the mount is busy for both, for a moment, or one finds that the other was faster, which is
/// what was asked for.
fn detach_once_free(path: &Path, lazy: bool) -> Result<()> {
    let until = Instant::now() + BUSY_MAX;
    loop {
        let outcome = detach(path, lazy);
        if outcome.is_ok() || !mounts::is_mounted(path).doing(|| "read the list of mounts")? {
            return Ok(());
        }
        if Instant::now() >= until {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn detach(path: &Path, lazy: bool) -> Result<()> {
    let outcome = if lazy { fuse::detach(path) } else { fuse::unmount(path) };
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => busy(path),
        // the helper doesn't say why it refuses; nearly always something uses the mount
        io::ErrorKind::PermissionDenied if !nix::unistd::geteuid().is_root() => busy(path),
        io::ErrorKind::NotFound => {
            Error::of(format!("unmount {}", path.display()), &error).help("install the package `fuse3`, or run as root")
        }
        _ => Error::of(format!("unmount {}", path.display()), &error),
    })
}

fn busy(path: &Path) -> Error {
    let shown = path.display();
    let error = Error::new(Exit::Refused, format!("can't unmount {shown}")).because("something still uses it");
    let users = users(path);
    let error = if users.is_empty() { error } else { error.because(users.join(", ")) };
    error.help(format!(
        "end what uses it (`fuser -vm {shown}` lists it; who waits for a snapshot in `.ctl/cmd` is freed by `cairnfs snapshot --cancel {shown}`), \
         or `cairnfs umount --lazy {shown}`"
    ))
}

/// Processes that have their working or root directory in the mount, by `/proc`; the mount itself isn't touched.
fn users(path: &Path) -> Vec<String> {
    let inside = |link: PathBuf| std::fs::read_link(link).is_ok_and(|target| target.starts_with(path));
    let mut users = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let dir = process.path();
        let Some(pid) = process.file_name().to_str().filter(|name| name.parse::<u32>().is_ok()).map(str::to_owned)
        else {
            continue;
        };
        let files = std::fs::read_dir(dir.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        if inside(dir.join("cwd")) || inside(dir.join("root")) || files.into_iter().any(inside) {
            let name = std::fs::read_to_string(dir.join("comm")).unwrap_or_default();
            users.push(format!("process {pid} ({})", name.trim()));
        }
    }
    users.truncate(5);
    users
}

/// The end of a mount's process, to be waited for.
struct Ending<'a> {
    store: &'a Store,
    found: &'a MountInfo,
    /// `None` when it can't be told from here: it has ended, runs in another namespace of processes, or the kernel is too old.
    process: Option<Process>,
}

impl<'a> Ending<'a> {
    /// To be asked while the mount is there: later another process may have the number.
    fn of(store: &'a Store, found: &'a MountInfo) -> Self {
        let pid = if found.alive { client::process(&found.record.socket).unwrap_or(found.record.pid) } else { 0 };
        let opened = Process::open(pid).ok().flatten();
        let process =
            opened.filter(|_| mounts::list(store).is_ok_and(|all| all.iter().any(|mount| is_alive(mount, found))));
        Self { store, found, process }
    }

    fn wait(&self) -> Result<()> {
        if self.is_over_within(END_MAX)? {
            return forget(self.store, self.found);
        }
        let record = &self.found.record;
        let error = Error::new(Exit::Failed, format!("can't wait any longer for process {} to end", record.pid));
        let uses =
            record.layer.as_ref().map_or_else(String::new, |layer| format!(" and may still use layer `{layer}`"));
        let why = format!("it hasn't ended {} seconds after the unmount{uses}", END_MAX.as_secs());
        Err(error.because(why).help(format!("see {}", record.log.display())))
    }

    /// Whether the process ends within `limit` with all that it has locked: it does so in several steps, of which the record's end is the
    /// first and the end of its last thread the last.
    fn is_over_within(&self, limit: Duration) -> Result<bool> {
        let until = Instant::now() + limit;
        if let Some(process) = &self.process {
            let ended = process.ends_within(limit);
            if !ended.doing(|| format!("wait for process {} to end", self.found.record.pid))? {
                return Ok(false);
            }
        }
        let mut pause = Duration::from_millis(1);
        while self.has_locks()? {
            if Instant::now() >= until {
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(true)
    }

    /// Whether the record or the layer is locked by the mount's process.
    fn has_locks(&self) -> Result<bool> {
        let record = &self.found.record;
        let holds = |layer| self.store.layer_is_held_by(layer, record.pid).doing(|| format!("look at layer `{layer}`"));
        Ok(mounts::list(self.store)?.iter().any(|mount| is_alive(mount, self.found))
            || record.layer.as_ref().map_or(Ok(false), holds)?)
    }
}

fn is_alive(mount: &MountInfo, found: &MountInfo) -> bool {
    mount.record.id == found.record.id && mount.alive
}

/// Clears away what a process that died left behind.
fn forget(store: &Store, found: &MountInfo) -> Result<()> {
    store.forget_dead_mount(&found.record.id).doing(|| "clear away the record of the mount")?;
    Ok(())
}
