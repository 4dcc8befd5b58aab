//! Control of a mount: the `.ctl` directory, the socket beside it, and the commands that both take.
//!
//! ```text
//!   .ctl/FILE ── files ──┐                       client ── connects to ──┐
//!                        ├── engine ── command   (command line)          │
//!   run/ID.sock ─ socket ┘     │                                 run/ID.sock, found by the store's records
//!                           backend ── the mounted filesystem, snapshot, gc
//! ```
//! * Commands run one at a time in threads of their own ([`engine`]); no lock of control is taken by a filesystem operation, and no
//!   command touches the mount's own mountpoint, so control answers when the mount doesn't.

pub mod backend;
pub mod client;
pub mod collect;
pub mod command;
pub mod engine;
#[cfg(test)]
mod explored;
#[cfg(test)]
mod fake;
pub mod files;
pub mod holding;
pub mod mounted;
pub mod reply;
pub mod socket;
pub mod stats;
pub mod text;
