//! Collecting garbage, for the `gc` command and for the commands of a mount.

use super::backend::Outcome;
use crate::store::{Store, StoreError};
use std::time::Duration;

/// Collects garbage of a store, or says what would go.
pub fn collect(_store: &Store, _dry_run: bool, _grace: Option<Duration>) -> Result<Outcome, StoreError> {
    todo!()
}
