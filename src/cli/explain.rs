//! What each error of the library means on the command line: its exit code, and what to do. One match each, so that a new error has to be
//! thought about here.

use super::error::{Explain, chain};
use super::exit::Exit;
use std::io;

/// Implements `causes` by the chain of sources and `explain` by a function.
macro_rules! explain {
    ($type:ty, $function:expr) => {
        impl Explain for $type {
            fn explain(&self) -> (Exit, Option<String>) {
                let function: fn(&$type) -> (Exit, Option<String>) = $function;
                function(self)
            }

            fn causes(&self) -> Vec<String> {
                chain(self)
            }
        }
    };
}

explain!(io::Error, |error| by_kind(error.kind()));
explain!(crate::format::BadLabel, |_| (Exit::Usage, None));
explain!(crate::control::text::BadDuration, |_| (Exit::Usage, None));
explain!(crate::store::StoreError, store);

fn store(error: &crate::store::StoreError) -> (Exit, Option<String>) {
    match error {
        crate::store::StoreError::Io { source, .. } => by_kind(source.kind()),
    }
}

fn by_kind(kind: io::ErrorKind) -> (Exit, Option<String>) {
    let help = |text: &str| Some(text.to_owned());
    match kind {
        io::ErrorKind::NotFound => (Exit::NotFound, None),
        io::ErrorKind::PermissionDenied => (Exit::Failed, help("run it as the owner, or as root")),
        io::ErrorKind::ReadOnlyFilesystem => (Exit::Failed, help("the filesystem is mounted read-only; remount it, or use another place")),
        io::ErrorKind::StorageFull => (Exit::Failed, help("make room on the filesystem; `cairnfs gc` frees what nothing names")),
        io::ErrorKind::ResourceBusy => (Exit::Refused, None),
        _ => (Exit::Failed, None),
    }
}
