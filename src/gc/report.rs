//! What a collection did, or in a dry run would do.

use super::{Live, Options, Plan, RootKind};
use crate::format::Digest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What a collection did, or in a dry run would do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Nothing was changed.
    pub dry_run: bool,
    /// The grace period.
    #[serde(rename = "grace_seconds", serialize_with = "crate::format::seconds")]
    pub grace: Duration,
    /// Objects in the store.
    pub scanned: u64,
    /// Objects that roots reach.
    pub live: u64,
    /// Objects that roots reach, by the first kind of root that does.
    pub kept_by: BTreeMap<RootKind, u64>,
    /// Objects that no root reaches, kept for live writers.
    pub young: u64,
    /// Objects put into the trash.
    pub deleted: u64,
    /// Their bytes.
    pub trashed_bytes: u64,
    /// Objects that left the trash for good.
    pub purged: u64,
    /// Their bytes: what the disk got back.
    pub freed_bytes: u64,
    /// Objects brought back from the trash, for a root reaches them.
    pub restored: u64,
    /// The objects put into the trash.
    pub unreferenced: Vec<Digest>,
    /// Files in `objects/` that aren't objects; never touched.
    pub foreign: Vec<PathBuf>,
    /// Objects that roots reach but that aren't there.
    pub missing: Vec<Digest>,
    /// Objects that a writer left torn when it was cut off, now in the trash.
    pub torn: Vec<Digest>,
    /// Unfinished files of dead writers that were removed.
    pub unfinished: u64,
    /// How long it took.
    #[serde(rename = "duration_seconds", serialize_with = "crate::format::seconds")]
    pub duration: Duration,
}

impl Report {
    pub(super) fn new(options: &Options, scanned: u64, live: &Live, plan: &Plan) -> Self {
        Self {
            dry_run: options.dry_run,
            grace: options.grace,
            scanned,
            live: live.len() as u64,
            kept_by: live.count(),
            young: plan.young.len() as u64,
            ..Self::default()
        }
    }
}
