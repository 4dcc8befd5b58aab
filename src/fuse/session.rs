//! A mount from its beginning to its end.
//!
//! ```text
//! mount      check the mountpoint · mount(2), or fusermount3 without privilege · agree with the kernel · serve on threads
//! unmount    sync · umount2(2); when somebody uses the mount, detach it and serve on until the last user leaves
//! the end    by unmount, umount(8) or abort: the kernel closes the connection, the threads return, the filesystem is synced
//! ```
//! The mount is unmounted by what the mount table says of its device number, not by a remembered path: it may have been moved, and another
//! filesystem may be at the path by now. Nothing here touches the mount itself, for the answer would have to come from this process.

use super::adapter::Adapter;
use super::backing::Backings;
use super::control_dir::ControlDir;
use super::io_mode::OpenModes;
use super::meter::Meter;
use super::metrics::Metrics;
use super::mount_error::MountError;
use super::mount_options::{ControlAccess, IoChoice, MountOptions};
use super::mounting::{abort_connection, check_mountpoint, connection_of, start, unmount_path};
use super::nodes::Nodes;
use super::running::Running;
use super::scout::Scout;
use super::turns::Turns;
use super::{ControlFiles, errno, mount_table, mounting};
use crate::locks::{self, Mutex};
use crate::vfs::{Caller, Fs, VfsError};
use fuser::{Notifier, Session};
use nix::mount::MntFlags;
use nix::unistd::getegid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalHandle, Signals};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// A filesystem, mounted and served. Dropping it ends the mount by force; [`Mounted::wait`] is the orderly way.
#[derive(Debug)]
pub struct Mounted {
    handle: MountHandle,
    session: Option<JoinHandle<io::Result<()>>>,
    farewell: Arc<Mutex<Option<VfsError>>>,
    signals: Option<SignalHandle>,
}

/// Reaches a mount from any thread; cheap to clone.
#[derive(Debug, Clone)]
pub struct MountHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    mountpoint: PathBuf,
    /// The kernel's number of the connection; `None` when the mount table doesn't show it.
    connection: Option<u32>,
    ended: AtomicBool,
    metrics: Arc<Metrics>,
    fs: Arc<Fs>,
}

/// How an unmount went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// It is gone.
    Now,
    /// It is gone from the tree of directories, and ends when the last file open on it is closed.
    WhenLastUserLeaves,
}

impl Mounted {
    /// Mounts `fs` at `mountpoint` and serves it until it is unmounted. The mount answers when this returns.
    pub fn mount(
        fs: Arc<Fs>,
        control: Option<Arc<dyn ControlFiles>>,
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let mountpoint = check_mountpoint(mountpoint)?;
        fs.copy_by(options.copying);
        // Before there is a mount that a signal could leave behind; what comes early waits.
        let signals = options.signals.then(catch_signals).transpose()?;
        let notifier = Arc::new(OnceLock::new());
        let farewell = Arc::default();
        let told = control.clone();
        let scout = Arc::new(Scout::new(fs.base().manifest().root.subtree.entries));
        let adapter = adapter(&fs, control, options, &scout, (&notifier, &farewell));
        let session = start(adapter, &mountpoint, options)?;
        // Set once, here, so it can't be set already.
        let _first = notifier.set(session.notifier());
        let connection = connection_of(&mountpoint);
        // Only where nothing changes: an answer that was under way to the thread when a program changed the directory would have the kernel keep the
        // attributes from before.
        if let Some(connection) = connection.filter(|_| options.ahead && fs.is_read_only()) {
            scout.may_walk(mountpoint.clone(), connection);
        }
        let inner =
            Inner { mountpoint, connection, ended: AtomicBool::new(false), metrics: Arc::clone(&options.metrics), fs };
        let handle = MountHandle(Arc::new(inner));
        let session = serve(session, handle.clone())?;
        let mut mounted = Self { handle, session: Some(session), farewell, signals: None };
        if let Some(signals) = signals {
            mounted.obey(signals, told)?;
        }
        Ok(mounted)
    }

    /// Reaches the mount from other threads.
    pub fn handle(&self) -> MountHandle {
        self.handle.clone()
    }

    fn obey(&mut self, mut signals: Signals, control: Option<Arc<dyn ControlFiles>>) -> Result<(), MountError> {
        self.signals = Some(signals.handle());
        let mount = self.handle();
        let watch = move || {
            for (earlier, signal) in signals.forever().enumerate() {
                // Who waits for a command in `.ctl` uses the mount.
                control.iter().for_each(|control| control.ending());
                mount.obey(signal, earlier > 0);
            }
        };
        locks::spawn_outside("signals", watch).map_err(|source| MountError::Signals { source })?;
        Ok(())
    }

    /// Returns when the mount has ended, by whomever, and the filesystem is on disk.
    pub fn wait(mut self) -> Result<(), MountError> {
        self.join()
    }

    /// Unmounts, and waits for the end when nobody uses the mount.
    pub fn unmount(mut self) -> Result<Unmounted, MountError> {
        let outcome = self.handle.unmount()?;
        match outcome {
            Unmounted::Now => self.join()?,
            // The threads go on serving; nothing is left to be done here.
            Unmounted::WhenLastUserLeaves => self.session = None,
        }
        Ok(outcome)
    }

    fn join(&mut self) -> Result<(), MountError> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let outcome = session.join().unwrap_or_else(|_| Err(io::Error::other("the session's thread panicked")));
        if let Some(signals) = self.signals.take() {
            signals.close();
        }
        if let Some(source) = self.farewell.lock().take() {
            return Err(MountError::FinalSync { source });
        }
        outcome.map_err(|source| MountError::Session { path: self.handle.0.mountpoint.clone(), source })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.session.is_none() {
            return;
        }
        let ended = self.handle.unmount().and_then(|outcome| match outcome {
            Unmounted::Now => Ok(()),
            Unmounted::WhenLastUserLeaves => self.handle.abort(),
        });
        let ended = ended.and_then(|()| self.join());
        if let Err(error) = ended {
            tracing::warn!(%error, "the mount didn't end well");
        }
    }
}

impl MountHandle {
    /// Where it was mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.0.mountpoint
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Whether the session is over.
    pub fn has_ended(&self) -> bool {
        self.0.ended.load(SeqCst)
    }

    /// Syncs and unmounts; detaches when somebody uses the mount.
    pub fn unmount(&self) -> Result<Unmounted, MountError> {
        if self.has_ended() {
            return Ok(Unmounted::Now);
        }
        if let Err(error) = self.0.fs.sync() {
            tracing::error!(%error, "can't sync before unmounting; going on");
        }
        let Some(path) = self.place()? else {
            return Ok(Unmounted::WhenLastUserLeaves);
        };
        let failed = |source| MountError::Unmount { path: path.clone(), source };
        match mounting::unmount(&path) {
            Ok(()) => Ok(Unmounted::Now),
            Err(error) if errno::is_busy(&error) => {
                mounting::detach(&path).map_err(failed)?;
                tracing::warn!(path = %path.display(), "in use: detached, and served until its last user leaves");
                Ok(Unmounted::WhenLastUserLeaves)
            }
            Err(error) if errno::is_not_mounted(&error) => Ok(Unmounted::Now),
            Err(error) => Err(failed(error)),
        }
    }

    /// Ends the mount under its users: what they have open fails from now on.
    pub fn abort(&self) -> Result<(), MountError> {
        if self.has_ended() {
            return Ok(());
        }
        let failed = |source| MountError::Unmount { path: self.0.mountpoint.clone(), source };
        if let Some(path) = self.place()? {
            return unmount_path(&path, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).map_err(failed);
        }
        let unknown = || io::Error::other("the mount is detached, and its connection isn't known");
        let connection = self.0.connection.ok_or_else(unknown).map_err(failed)?;
        abort_connection(connection).map_err(failed)
    }

    /// Where the mount is now; `None` when it is nowhere.
    fn place(&self) -> Result<Option<PathBuf>, MountError> {
        let Some(connection) = self.0.connection else {
            return Ok(Some(self.0.mountpoint.clone()));
        };
        let failed = |source| MountError::Unmount { path: self.0.mountpoint.clone(), source };
        let mut table = mount_table::mounts().map_err(failed)?;
        table.retain(|entry| entry.connection == connection);
        Ok(table.pop().map(|entry| entry.mountpoint))
    }

    fn obey(&self, signal: i32, again: bool) {
        tracing::info!(signal, again, "unmounting");
        let outcome = if again { self.abort() } else { self.unmount().map(drop) };
        if let Err(error) = outcome {
            tracing::error!(%error, "can't unmount");
        }
    }
}

fn catch_signals() -> Result<Signals, MountError> {
    Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|source| MountError::Signals { source })
}

fn adapter(
    fs: &Arc<Fs>,
    control: Option<Arc<dyn ControlFiles>>,
    options: &MountOptions,
    scout: &Arc<Scout>,
    (notifier, farewell): (&Arc<OnceLock<Notifier>>, &Arc<Mutex<Option<VfsError>>>),
) -> Adapter {
    let owner = Caller { uid: options.owner, gid: getegid().as_raw(), pid: 0 };
    let control = control.filter(|_| options.control != ControlAccess::Off);
    Adapter {
        fs: Arc::clone(fs),
        read_only: options.read_only,
        control: control.map(|files| Arc::new(ControlDir::new(files, options.control, owner))),
        nodes: Nodes::new(!fs.is_read_only()),
        modes: OpenModes::default(),
        running: Running::default(),
        backings: Backings::default(),
        meter: Meter::new(Arc::clone(&options.metrics)),
        turns: Turns::new(options.threads.get()),
        scout: Arc::clone(scout),
        notifier: Arc::clone(notifier),
        passthrough: options.io == IoChoice::Auto,
        no_opendir: false,
        farewell: Arc::clone(farewell),
    }
}

fn serve(session: Session<Adapter>, handle: MountHandle) -> Result<JoinHandle<io::Result<()>>, MountError> {
    let mount = handle.clone();
    let run = move || {
        let outcome = session.run();
        handle.0.ended.store(true, SeqCst);
        outcome
    };
    locks::spawn_outside("fuse-session", run).map_err(|source| {
        // The session went with the thread that wasn't made; what it served goes too.
        if let Err(error) = mount.abort() {
            tracing::warn!(%error, "can't remove the mount that can't be served");
        }
        MountError::Session { path: mount.mountpoint().to_owned(), source }
    })
}
