//! mount(2) and umount2(2), and `fusermount3` for those who may not call them.
//!
//! The mount is made here and not by the FUSE library, so that the kernel shows the type `fuse.cairnfs` and the caller learns the errno.

use super::adapter::Adapter;
use super::errno;
use super::mount_error::MountError;
use super::mount_options::MountOptions;
use super::mount_table::{self, FILESYSTEM_TYPE};
use fuser::{Config, MountOption, Session, SessionACL};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::unistd::{getegid, geteuid};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

const DEVICE: &str = "/dev/fuse";

/// The mountpoint's real path, when something can be mounted there.
pub(super) fn check_mountpoint(path: &Path) -> Result<PathBuf, MountError> {
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
        // What the kernel has cached of a mount outlives its daemon; statfs is always asked of the daemon.
        Some(entry) => Err(match rustix::fs::statvfs(&real) {
            Err(errno) if errno::is_dead_mount(&errno.into()) => MountError::DeadMount { path: place() },
            _ => MountError::AlreadyMounted { path: place(), source_name: entry.source },
        }),
        None => Ok(real),
    }
}

/// Mounts and agrees with the kernel on the protocol.
pub(super) fn start(
    adapter: Adapter,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<Session<Adapter>, MountError> {
    let config = config(options);
    let Some(device) = mount_directly(mountpoint, options)? else {
        let failed = |source| MountError::NotAllowed { path: mountpoint.to_owned(), source };
        return Session::new(adapter, mountpoint, &config).map_err(failed);
    };
    // Without it, every request wakes a thread.
    match device.try_clone() {
        Ok(device) => adapter.turns.watch_on(device),
        Err(error) => tracing::debug!(%error, "can't watch for requests"),
    }
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

/// Gives a mount other flags: `mount -o remount`. What is served there, and how, stays as it is.
pub fn remount(mountpoint: &Path, options: &MountOptions) -> Result<(), MountError> {
    let failed = |source| MountError::Mountpoint { path: mountpoint.to_owned(), source };
    let real = mountpoint.canonicalize().map_err(failed)?;
    if !mount_table::mounts().map_err(failed)?.iter().any(|entry| entry.mountpoint == real) {
        return Err(MountError::NotMounted { path: mountpoint.to_owned() });
    }
    // The kernel takes no options of FUSE's own here.
    let flags = options.flags() | MsFlags::MS_REMOUNT;
    nix::mount::mount(None::<&str>, &real, None::<&str>, flags, None::<&str>).map_err(|error| {
        let source = io::Error::from(error);
        let remedy = match &source {
            error if errno::is_busy(error) => {
                "files are open for writing: close them (`cairnfs umount` names the processes that use the mount)"
            }
            error if errno::is_not_permitted(error) => "only root can",
            _ => "unmount it, and mount it again",
        };
        MountError::Remount { path: real.clone(), remedy, source }
    })
}

/// Whether the mount at `path` lets nothing be written.
pub fn is_read_only(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statvfs(path)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Takes mounts away from `path` whose daemon has died, and says whether there were any. Any other mount stays, and so does a dead one that
/// another filesystem is mounted over. `path` is free of links.
pub fn clear_dead(path: &Path) -> io::Result<bool> {
    let mut cleared = false;
    while is_dead(path)? {
        detach(path)?;
        cleared = true;
    }
    Ok(cleared)
}

/// Whether the uppermost mount at `path` is one of cairnfs that nobody serves any more.
fn is_dead(path: &Path) -> io::Result<bool> {
    // What the kernel has cached of a mount outlives its daemon; statfs is always asked of the daemon.
    match rustix::fs::statvfs(path) {
        Err(errno) if errno::is_dead_mount(&errno.into()) => {}
        _ => return Ok(false),
    }
    // Such a descriptor asks nothing of the daemon.
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", place.as_raw_fd()))?;
    let id = facts.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.map_or(Ok(false), |id| mount_table::is_ours(id.trim()))
}

/// Closes a connection by the kernel's control filesystem, which is asked for if nobody has mounted it.
pub(super) fn abort_connection(number: u32) -> io::Result<()> {
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

/// The kernel's number of the connection that is mounted at `mountpoint`.
pub(super) fn connection_of(mountpoint: &Path) -> Option<u32> {
    let table = mount_table::mounts().ok()?;
    table.into_iter().rfind(|entry| entry.mountpoint == mountpoint).map(|entry| entry.connection)
}

/// Removes the mount at `path`, unless something uses it.
pub fn unmount(path: &Path) -> io::Result<()> {
    unmount_path(path, MntFlags::UMOUNT_NOFOLLOW)
}

/// Removes the mount at `path` from the tree of directories; it ends when its last user leaves.
pub fn detach(path: &Path) -> io::Result<()> {
    unmount_path(path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
}

/// umount2(2), or `fusermount3 -u` for those who mounted by it.
pub(super) fn unmount_path(path: &Path, flags: MntFlags) -> io::Result<()> {
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
