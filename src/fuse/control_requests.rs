//! Opens and writes of control files. Either may take long, for an open takes the file's content and a write runs a command; so each has a
//! thread of its own, and no number of them keeps the mount from being served.

use super::control_dir::{ControlDir, Node};
use super::errno::Refusal;
use super::file_ops::Access;
use super::meter::Meter;
use super::metrics::Op;
use crate::locks;
use crate::vfs::Caller;
use fuser::{FileHandle, FopenFlags, INodeNo, ReplyOpen, ReplyWrite};
use std::sync::Arc;

/// The control directory, and where its requests count.
pub(super) struct ControlRequest {
    pub(super) control: Arc<ControlDir>,
    pub(super) meter: Meter,
    pub(super) node: INodeNo,
}

impl ControlRequest {
    pub(super) fn open(self, caller: Caller, access: Access, reply: ReplyOpen) {
        in_thread("control-open", move || {
            let outcome = self.meter.run(Op::Open, self.node, || {
                let node = self.control.node(self.node.0).unwrap_or(Node::Dir);
                self.control.open(caller, node, access.reading, access.mode.write)
            });
            match outcome {
                Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO),
                Err(errno) => reply.error(errno),
            }
        });
    }

    pub(super) fn write(self, handle: u64, text: Vec<u8>, reply: ReplyWrite) {
        in_thread("control-write", move || {
            let outcome = self.meter.run(Op::Write, self.node, || {
                let written = u32::try_from(text.len()).map_err(|_| Refusal::Bug)?;
                self.control.write(handle, &text)?;
                Ok(written)
            });
            match outcome {
                Ok(written) => reply.written(written),
                Err(errno) => reply.error(errno),
            }
        });
    }
}

fn in_thread(name: &str, work: impl FnOnce() + Send + 'static) {
    // Without a thread the work is dropped with its reply, which answers EIO.
    if let Err(error) = locks::spawn_outside(name, work) {
        tracing::error!(%error, "can't start a thread for the control directory");
    }
}
