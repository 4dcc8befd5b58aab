//! What every command is given: the global options, and the store they name.

use super::args::Global;
use super::error::{Doing as _, Result};
use super::output::Output;
use crate::store::Store;
use std::path::PathBuf;

/// The global options at work.
#[derive(Debug, Clone)]
pub struct Context {
    /// How to print.
    pub out: Output,
    /// As they were given.
    pub global: Global,
}

impl Context {
    /// From the options given.
    pub fn new(global: Global) -> Self {
        Self { out: Output::new(global.json, global.quiet, global.color), global }
    }

    /// Where the store is, or would be.
    pub fn store_path(&self) -> PathBuf {
        self.global.store.clone().unwrap_or_else(Store::default_path)
    }

    /// Opens the store; it must be there.
    pub fn open(&self) -> Result<Store> {
        let path = self.store_path();
        Store::open(&path).doing(|| format!("open the store {}", path.display()))
    }
}
