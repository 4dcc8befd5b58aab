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
use super::metrics::Metrics;
use super::mount_error::MountError;
use super::mount_options::{ControlAccess, IoChoice, MountOptions};
use super::mount_table::{self, FILESYSTEM_TYPE};
use super::nodes::Nodes;
use super::{ControlFiles, errno};
use crate::vfs::{Caller, Fs, Ino, VfsError};
use fuser::{Config, MountOption, Notifier, Session, SessionACL};
use nix::mount::{MntFlags, umount2};
use nix::unistd::{getegid, geteuid};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalHandle, Signals};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

const DEVICE: &str = "/dev/fuse";

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
    notifier: Arc<OnceLock<Notifier>>,
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
        // Before there is a mount that a signal could leave behind; what comes early waits.
        let signals = options.signals.then(catch_signals).transpose()?;
        let notifier = Arc::new(OnceLock::new());
        let farewell = Arc::default();
        let adapter = adapter(&fs, control, options, &notifier, &farewell);
        let session = start(adapter, &mountpoint, options)?;
        // Set once, here, so it can't be set already.
        let _first = notifier.set(session.notifier());
        let connection = connection_of(&mountpoint);
        let inner = Inner {
            mountpoint,
            connection,
            ended: AtomicBool::new(false),
            notifier,
            metrics: Arc::clone(&options.metrics),
            fs,
        };
        let handle = MountHandle(Arc::new(inner));
        let session = serve(session, handle.clone())?;
        let mut mounted = Self { handle, session: Some(session), farewell, signals: None };
        if let Some(signals) = signals {
            mounted.obey(signals)?;
        }
        Ok(mounted)
    }

    /// Reaches the mount from other threads.
    pub fn handle(&self) -> MountHandle {
        self.handle.clone()
    }

    fn obey(&mut self, mut signals: Signals) -> Result<(), MountError> {
        self.signals = Some(signals.handle());
        let mount = self.handle();
        let watch = move || {
            for (earlier, signal) in signals.forever().enumerate() {
                mount.obey(signal, earlier > 0);
            }
        };
        thread::Builder::new().name("signals".into()).spawn(watch).map_err(|source| MountError::Signals { source })?;
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
        match unmount_path(&path, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => Ok(Unmounted::Now),
            Err(error) if errno::is_busy(&error) => {
                unmount_path(&path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH).map_err(failed)?;
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

    /// Makes the kernel drop what it cached of an inode's attributes and content.
    pub fn drop_cached(&self, ino: Ino) -> io::Result<()> {
        self.0.notifier.get().map_or(Ok(()), |notifier| notifier.inval_inode(fuser::INodeNo(ino.0), 0, 0))
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

fn check_mountpoint(path: &Path) -> Result<PathBuf, MountError> {
    let place = || path.to_owned();
    let look = || -> io::Result<(PathBuf, bool)> {
        let real = path.canonicalize()?;
        let is_dir = real.metadata()?.is_dir();
        Ok((real, is_dir))
    };
    let (real, is_dir) = look().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => MountError::NoMountpoint { path: place() },
        _ if errno::is_dead_mount(&source) => MountError::DeadMount { path: place() },
        _ => MountError::Mountpoint { path: place(), source },
    })?;
    if !is_dir {
        return Err(MountError::NotDirectory { path: place() });
    }
    let table = mount_table::mounts().map_err(|source| MountError::Mountpoint { path: place(), source })?;
    match table.into_iter().rfind(|entry| entry.mountpoint == real) {
        Some(entry) => Err(MountError::AlreadyMounted { path: place(), source_name: entry.source }),
        None => Ok(real),
    }
}

fn adapter(
    fs: &Arc<Fs>,
    control: Option<Arc<dyn ControlFiles>>,
    options: &MountOptions,
    notifier: &Arc<OnceLock<Notifier>>,
    farewell: &Arc<Mutex<Option<VfsError>>>,
) -> Adapter {
    let owner = Caller { uid: options.owner, gid: getegid().as_raw(), pid: 0 };
    let control = control.filter(|_| options.control != ControlAccess::Off);
    Adapter {
        fs: Arc::clone(fs),
        read_only: options.read_only,
        control: control.map(|files| Arc::new(ControlDir::new(files, options.control, owner))),
        nodes: Nodes::new(!fs.is_read_only()),
        modes: OpenModes::default(),
        backings: Backings::default(),
        metrics: Arc::clone(&options.metrics),
        notifier: Arc::clone(notifier),
        passthrough: options.io == IoChoice::Auto,
        no_opendir: false,
        farewell: Arc::clone(farewell),
    }
}

/// Mounts and agrees with the kernel on the protocol.
fn start(adapter: Adapter, mountpoint: &Path, options: &MountOptions) -> Result<Session<Adapter>, MountError> {
    let config = config(options);
    let Some(device) = mount_directly(mountpoint, options)? else {
        let failed = |source| MountError::NotAllowed { path: mountpoint.to_owned(), source };
        return Session::new(adapter, mountpoint, &config).map_err(failed);
    };
    let acl = config.acl;
    Session::from_fd(adapter, device, acl, config).map_err(|source| {
        if let Err(error) = unmount_path(mountpoint, MntFlags::MNT_DETACH) {
            tracing::warn!(%error, "can't remove the mount that can't be served");
        }
        MountError::Session { path: mountpoint.to_owned(), source }
    })
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    let choices = [
        (options.read_only, MountOption::RO),
        (!options.suid, MountOption::NoSuid),
        (!options.dev, MountOption::NoDev),
        (!options.exec, MountOption::NoExec),
        (!options.atime, MountOption::NoAtime),
    ];
    config.mount_options = choices.into_iter().filter_map(|(chosen, option)| chosen.then_some(option)).collect();
    config.mount_options.extend([
        MountOption::FSName(options.fsname.clone()),
        MountOption::Subtype("cairnfs".into()),
        MountOption::DefaultPermissions,
    ]);
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.get());
    config.clone_fd = options.clone_fd;
    config
}

/// mount(2). `None`: it takes more privilege than this process has.
fn mount_directly(mountpoint: &Path, options: &MountOptions) -> Result<Option<OwnedFd>, MountError> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    let device = device.map_err(|source| {
        let remedy = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "give its users access, usually by `chmod 666 /dev/fuse`, or become root"
            }
            _ => "load the module with `modprobe fuse`, or in a container pass the device on (`--device /dev/fuse`)",
        };
        MountError::NoDevice { remedy, source }
    })?;
    let allow_other = if options.allow_other { ",allow_other" } else { "" };
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions{allow_other}",
        device.as_raw_fd(),
        geteuid(),
        getegid(),
    );
    let source = Some(options.fsname.as_str());
    match nix::mount::mount(source, mountpoint, Some(FILESYSTEM_TYPE), options.flags(), Some(data.as_str())) {
        Ok(()) => Ok(Some(device.into())),
        Err(error) => {
            let source = io::Error::from(error);
            let refused = errno::is_not_permitted(&source);
            if refused { Ok(None) } else { Err(MountError::Mount { path: mountpoint.to_owned(), source }) }
        }
    }
}

fn serve(session: Session<Adapter>, handle: MountHandle) -> Result<JoinHandle<io::Result<()>>, MountError> {
    let mount = handle.clone();
    let run = move || {
        let outcome = session.run();
        handle.0.ended.store(true, SeqCst);
        outcome
    };
    thread::Builder::new().name("fuse-session".into()).spawn(run).map_err(|source| {
        // The session went with the thread that wasn't made; what it served goes too.
        if let Err(error) = mount.abort() {
            tracing::warn!(%error, "can't remove the mount that can't be served");
        }
        MountError::Session { path: mount.mountpoint().to_owned(), source }
    })
}

/// Closes a connection by the kernel's control filesystem, which is asked for if nobody has mounted it.
fn abort_connection(number: u32) -> io::Result<()> {
    let file = format!("{number}/abort");
    let mounted = Path::new("/sys/fs/fuse/connections").join(&file);
    if mounted.exists() {
        return std::fs::write(mounted, "1");
    }
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let control = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let abort = openat(control, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(abort).write_all(b"1")
}

fn connection_of(mountpoint: &Path) -> Option<u32> {
    let table = mount_table::mounts().ok()?;
    table.into_iter().rfind(|entry| entry.mountpoint == mountpoint).map(|entry| entry.connection)
}

/// umount2(2), or `fusermount3 -u` for those who mounted by it.
fn unmount_path(path: &Path, flags: MntFlags) -> io::Result<()> {
    let outcome = umount2(path, flags).map_err(io::Error::from);
    match outcome {
        Err(error) if errno::is_not_permitted(&error) => {
            let mut helper = Command::new("fusermount3");
            helper.arg("-u").arg("-q");
            if flags.contains(MntFlags::MNT_DETACH) {
                helper.arg("-z");
            }
            let status = helper.arg("--").arg(path).status()?;
            if status.success() { Ok(()) } else { Err(error) }
        }
        other => other,
    }
}
