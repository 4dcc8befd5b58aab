//! Totals, as statfs(2) tells them.

use super::Fs;
use super::error::{Result, VfsError};
use super::types::StatFs;

impl Fs {
    /// Totals of the filesystem that new content goes to.
    pub fn stat_fs(&self) -> Result<StatFs> {
        let path = match &self.upper {
            Some(upper) => upper.layer.path(),
            None => self.base.store().path(),
        };
        let host = rustix::fs::statvfs(path).map_err(|errno| VfsError::Io {
            context: format!("can't examine {}", path.display()),
            source: errno.into(),
        })?;
        // What removed files hold is free to whoever needs it: see `settle`.
        let (bytes, files) = self.upper.as_ref().map_or((0, 0), |upper| upper.settling.held());
        let held = bytes / host.f_frsize.max(1);
        Ok(StatFs {
            block_size: u32::try_from(host.f_frsize).unwrap_or(4096),
            blocks: host.f_blocks,
            free: (host.f_bfree + held).min(host.f_blocks),
            available: (host.f_bavail + held).min(host.f_blocks),
            files: host.f_files,
            files_free: (host.f_ffree + files).min(host.f_files),
        })
    }
}
