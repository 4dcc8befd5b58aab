//! Control of a mount: the `.ctl` directory, the socket beside it, and the commands that both take.
//!
//! ```text
//!   .ctl/FILE ── files ──┐                       client ── connects to ──┐
//!                        ├── engine ── command   (command line)          │
//!   run/ID.sock ─ socket ┘     │                                 run/ID.sock, found by the store's records
//!                           backend ── mounted: the filesystem, snapshot, gc
//!
//! reply     the answer to a command               stats    the figures of a mount
//! collect   what a collection has to say          holding  a filesystem for this process alone, and what keeps its objects
//! text      how people write values
//! ```
//! * Commands run one at a time in threads of their own ([`engine`]); no lock of control is taken by a filesystem operation, and no
//!   command touches the mount's own mountpoint, so control answers when the mount doesn't.

mod backend;
pub(crate) mod client;
pub(crate) mod collect;
mod command;
pub(crate) mod engine;
#[cfg(test)]
mod explored;
#[cfg(test)]
mod fake;
pub(crate) mod files;
pub(crate) mod holding;
pub(crate) mod mounted;
pub(crate) mod reply;
pub(crate) mod socket;
pub(crate) mod stats;
pub(crate) mod text;
