//! Which mounting of the host's filesystem a layer is used on: what tells a killed daemon from a power cut.
//!
//! A daemon that is killed loses nothing, for the operating system has all that it wrote. When the host's filesystem itself went away without
//! writing everything out, what wasn't synced may be gone. Both look alike in the layer, so the layer records the *instance* of the filesystem that
//! it was used on: this start of the machine (`random/boot_id`, proc_sys_kernel(5)) and, in it, this mounting of the filesystem. Nothing can be
//! lost between two uses of one instance. An instance that can't be told counts as another.
//!
//! The kernel keeps a folder for each mounted superblock: `/sys/fs/ext4/DEVICE`, `/sys/fs/xfs/DEVICE`, `/sys/fs/btrfs/UUID`. Its inode number is
//! given out once in a start of the machine (kernfs numbers its nodes cyclically, with a generation), and the folder lives from mount to the last
//! unmount. Seen on Linux 6.18 with the three: the number is the same for every process, in other mount and network namespaces with a sysfs of
//! their own, and after the kernel dropped its caches (its times are not: they are made up when the inode is read in); it is another after every
//! unmount and mount of the same device. Other filesystems have no such folder: the device number stands for them, and the number of the mount
//! where the kernel tells one that isn't given out again (Linux 6.8), so that a bind mount or another namespace counts as another instance there. A filesystem in memory loses nothing but all: one instance stands for
//! every tmpfs.
//!
//! `LAYER/instance` holds the one that the layer was recovered on last. It is a file, for it is needed before the database is opened, and never
//! synced: what a power cut leaves of it is older, or nothing, and so another instance.

use super::error::LayerError;
use crate::sys::superblock;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The instance of the filesystem that `path` is on; `None` when it can't be told.
pub fn instance(path: &Path) -> Option<String> {
    instance_of(&File::open(path).ok()?)
}

/// The instance of the filesystem that an open folder is on; `None` when it can't be told.
pub fn instance_of(folder: &File) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot = Some(boot.trim()).filter(|boot| !boot.is_empty())?;
    let mounted = in_memory(folder).or_else(|| by_folder(folder)).or_else(|| by_mount(folder))?;
    Some(format!("{boot} {mounted}"))
}

fn in_memory(of: &File) -> Option<String> {
    superblock::is_memory(of).then(|| "memory".to_owned())
}

fn by_folder(of: &File) -> Option<String> {
    let name = superblock::sysfs_name(of)?;
    let node = fs::metadata(Path::new("/sys/fs").join(&name)).ok()?.ino();
    Some(format!("{name} {node}"))
}

fn by_mount(of: &File) -> Option<String> {
    let mount = superblock::mount_id(of).ok()?.unwrap_or(0);
    Some(format!("device {} mount {mount}", of.metadata().ok()?.dev()))
}

fn file(layer: &Path) -> PathBuf {
    layer.join("instance")
}

/// Whether what wasn't synced since the layer in folder `layer` was opened last may be gone.
pub(super) fn power_was_cut(layer: &Path) -> Result<bool, LayerError> {
    let now = instance(layer);
    Ok(now.is_none() || recorded(layer)? != now)
}

fn recorded(layer: &Path) -> Result<Option<String>, LayerError> {
    let path = file(layer);
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LayerError::Data { action: "read", path, source }),
    }
}

/// Whether the layer in folder `layer` was ever recovered on an instance that could be told.
pub(super) fn is_recorded(layer: &Path) -> Result<bool, LayerError> {
    Ok(recorded(layer)?.is_some())
}

/// Records the instance of the layer in folder `layer`, where it can be told. In place, which needs no room unless it is the first time.
pub(super) fn record(layer: &Path) -> Result<(), LayerError> {
    let Some(instance) = instance(layer) else { return Ok(()) };
    let path = file(layer);
    let write = || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        file.write_all_at(instance.as_bytes(), 0)?;
        file.set_len(instance.len() as u64)
    };
    write().map_err(|source| LayerError::Data { action: "write", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_stays_and_is_told_for_disk_and_memory() {
        let folder = tempfile::tempdir().unwrap();
        assert!(instance(folder.path()).is_some());
        assert_eq!(instance(folder.path()), instance(folder.path()));
        assert_ne!(instance(folder.path()), instance(Path::new("/dev/shm")));
        assert_eq!(instance(Path::new("/nonexistent")), None);
    }
}
