//! cairnfs mounts manifests of a content-addressed store as root filesystems.
//!
//! ```text
//!               cli                     the only part that prints or exits
//!                │
//!             control                  .ctl directory, socket, commands
//!     ┌────────┬─┴──────┬──────┬────────┐
//!   fuse   snapshot   fsck     gc     ingest   FUSE adapter · layer to manifest · check of a layer · collector · directories and archives in and out
//!     └───┬────┴────────┘      │        │
//!        vfs                   │        │      kernel-free filesystem: clean nodes of a base, dirty ones of a layer
//!      ┌──┴───┐                │        │
//!    layer  store ─────────────┴────────┘      what a layer changed · objects, refs, leases, trash: the only part that joins store paths
//!      └──┬───┘
//!      format                          pure bytes and types
//!
//!        sys  locks                    raw system calls: the only unsafe code · mutexes that tests can explore
//! ```
//! Dependencies point down only. `docs/ARCHITECTURE.md` tells the reasons.
//!
//! Where it is decided
//!
//! | what | where |
//! |---|---|
//! | the errno of any failure, such as a denied write | `fuse/errno.rs` |
//! | whether an open is passthrough | `fuse/io_mode.rs`: `wish`, `decide`; whether the machine can: `fuse/backing.rs` |
//! | how a file is copied up | `vfs/copy_up.rs` |
//! | when an inode without a name goes | `vfs/reclaim.rs`; after a crash `layer/recovery.rs` |
//! | that content is written out before it replaces other content | `vfs/sync.rs`: `start_writeback` |
//! | when copies are synced, and when removed content is given back | `vfs/settle/mod.rs` |
//! | which thread waits for the next request, and how | `fuse/turns.rs` |
//! | when directories are listed ahead of a program | `fuse/scout.rs` |
//! | what evicts cached trees | `vfs/base.rs`: `TreeCache`; listings `vfs/mod.rs`: `VIEWS`; backing files `fuse/backing.rs`: `KEPT` |
//! | what can be wrong with a layer, and in which order it is mended | `fsck/problem.rs`: `Code`, `stage` |
//! | what recovery does after a daemon was killed | `layer/recovery.rs`: `judge`; of the store: `gc/mod.rs`, step 5 |
//! | whether power was cut | `layer/instance.rs`: `power_was_cut` |
//! | whether a layer is new, or has lost something | `layer/making.rs`: `open_db`; `layer/mark.rs`: `at_least` |
//! | who has a layer | `store/layers.rs`: `lock_layer` |
//! | what may be torn at the journal's end | `layer/journal/mod.rs`: `mend`, by `bytes.rs` |
//! | that a sync which failed stays failed | content `layer/data.rs`: `sync_file`; records `layer/db/mod.rs`: `persist` |
//! | what works on a full disk | `layer/reserve.rs`; which batches may use it `layer/db/batch.rs`: `freeing_batch` |
//! | which protocols of locks are explored | `locks/explored.rs` |
//! | the fsync that publishes a ref | `store/writer.rs`: `set_ref`, by `barrier` and `store/publish.rs`: `replace_durably` |
//! | where bytes are checked against their digest | `store/objects.rs`: `read_checked`, `verify_object`; blobs are not when read |
//! | the roots of a collection | `gc/roots.rs`, from what `store/sweep.rs` reads |
//! | that an import refuses `.ctl` | `ingest/options.rs`: `check_root_name` |
//! | whether an import reads a file again | `ingest/known.rs` |
//! | exit codes | `cli/exit.rs`; which error has which: `cli/explain.rs` |

pub mod cli;
mod control;
pub mod format;
pub mod fsck;
pub mod fuse;
pub mod gc;
pub mod ingest;
pub mod layer;
mod locks;
pub mod snapshot;
pub mod store;
pub mod sys;
pub mod vfs;
