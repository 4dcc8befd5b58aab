//! cairnfs mounts manifests of a content-addressed store as root filesystems.
//!
//! ```text
//!            cli            the only part that prints or exits
//!             │
//!          control          .ctl directory, socket, commands
//!             │
//!   fuse  ────┤             FUSE adapter: decode, call vfs, map the error, reply
//!     │       │
//!    vfs   snapshot   gc    kernel-free filesystem · layer to manifest · collector
//!     │ ╲     │       │
//!   layer  ingest     │     what a layer changed · directories and archives in and out
//!        ╲    │      ╱
//!           store           objects, refs, leases, trash: the only part that joins store paths
//!             │
//!           format          pure bytes and types
//!             │
//!            sys            raw system calls: the only unsafe code
//! ```
//! Dependencies point down only. `docs/ARCHITECTURE.md` tells the reasons.

pub mod cli;
pub mod control;
pub mod format;
pub mod fuse;
pub mod gc;
pub mod ingest;
pub mod layer;
pub mod snapshot;
pub mod store;
pub mod sys;
pub mod vfs;
