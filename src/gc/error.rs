//! Why a collection was given up.

use crate::store::{ErrorClass, StoreError};

/// Why a collection was given up. What it had already put into the trash is unreferenced, and stays there for the grace period.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// What a root needs can't be read, so nobody can tell what is garbage.
    #[error(
        "collection given up: {root} needs an object that can't be read: {source}. Repair that, or remove {root}, then collect again"
    )]
    Unreadable {
        /// The root, in a person's words.
        root: String,
        /// What can't be read.
        #[source]
        source: StoreError,
    },
    /// The roots themselves can't be read.
    #[error("collection given up, for it can't be told what is in use: {0}")]
    Roots(#[source] StoreError),
    /// Objects, but nothing that refers to any.
    #[error(
        "collection given up: the store at {path} has {objects} objects but no ref, layer or mount, so all of them would go; \
         if that is meant, allow a collection without roots"
    )]
    NoRoots {
        /// The store.
        path: std::path::PathBuf,
        /// Its objects.
        objects: u64,
    },
    /// A full disk: what goes into the trash needs a little room for the folders there.
    #[error(
        "collection given up: there is no room for what nothing names in the trash ({source}); \
         with a grace period of 0 s it is removed at once instead"
    )]
    NoTrash {
        /// What failed.
        #[source]
        source: StoreError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GcError {
    /// Which class the error is of.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreadable { source, .. } | Self::NoTrash { source } | Self::Roots(source) | Self::Store(source) => {
                source.class()
            }
            Self::NoRoots { .. } => ErrorClass::Refused,
        }
    }

    /// Whether it failed for want of room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::NoTrash { .. } => true,
            Self::Roots(source) | Self::Unreadable { source, .. } | Self::Store(source) => source.is_full(),
            Self::NoRoots { .. } => false,
        }
    }
}
