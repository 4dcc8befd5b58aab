//! What is asked of the kernel when a mount starts.

use super::adapter::Adapter;
use fuser::{InitFlags, KernelConfig};

impl Adapter {
    /// Asks for the features that are of use; those that the kernel lacks are gone without.
    pub(super) fn negotiate(&mut self, config: &mut KernelConfig) {
        let wanted = [
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_BIG_WRITES,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_DO_READDIRPLUS,
            // Umask and default ACLs are the filesystem's to apply, for a default ACL replaces the umask.
            InitFlags::FUSE_DONT_MASK,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            InitFlags::FUSE_EXPORT_SUPPORT,
            // Saves a question for `security.capability` with every write(2); see `vfs::attrs` for what it obliges to.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_MAX_PAGES,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_POSIX_ACL,
        ];
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::info!(?flag, "the kernel lacks a FUSE feature; going on without");
            }
        }
        self.no_opendir = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT).is_ok();
        if self.passthrough
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok()
        {
            self.backings.allow();
        }
    }
}
