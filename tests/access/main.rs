//! Modes of access: what programs do with files beside reading and writing them. Each case runs on the host's filesystem, on files that
//! were made in a layer and on clean files of a base, and has to come out the same: the host's filesystem, ext4, says what is right.
//!
//! ```text
//! places       where a case runs: the host, a mount, a mount without passthrough
//! people       threads with another user, group or umask
//! process      other processes, told what to do line by line
//! permissions  umask, setgid, sticky, setuid bits lost    acls      access lists and their inheritance
//! xattrs       namespaces, limits, errors                 locks     flock, POSIX, open file descriptions, leases
//! flags        O_* · files without a name                 content   mappings, holes, fallocate, splice, copy
//! names        long, odd and many                         times     resolution, range, who may set them
//! handles      name_to_handle_at                          events    inotify
//! programs     running, libraries, sockets, fifos
//! ```
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "../common/mod.rs"]
mod common;

mod acls;
mod content;
mod events;
mod flags;
mod handles;
mod locks;
mod names;
mod people;
mod permissions;
mod places;
mod process;
mod programs;
mod times;
mod xattrs;
