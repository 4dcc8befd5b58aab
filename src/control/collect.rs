//! What a collection has to say, for the `gc` command and for the commands of a mount.

use super::backend::Outcome;
use super::text::{duration, size};
use crate::gc::Report;
use serde_json::json;

/// A collection's report, with a line for people.
pub fn outcome(report: &Report) -> Outcome {
    Outcome { message: summary(report), result: json!(report) }
}

fn summary(report: &Report) -> String {
    let would = if report.dry_run { "would put" } else { "put" };
    let gone = if report.dry_run { "would free" } else { "freed" };
    let mut text = format!(
        "{} of {} objects in use; {would} {} ({}) into the trash, {gone} {} ({}) for good",
        report.live,
        report.scanned,
        report.deleted,
        size(report.trashed_bytes),
        report.purged,
        size(report.freed_bytes),
    );
    let more = [
        (report.restored, "brought back from the trash"),
        (report.young, "kept for what is running"),
        (report.foreign.len() as u64, "foreign files left alone"),
        (report.missing.len() as u64, "MISSING though in use"),
        (report.torn.len() as u64, "torn by a writer that was cut off"),
    ];
    for (count, what) in more.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("; {count} {what}"));
    }
    text.push_str(&format!("; {}", duration(report.duration)));
    text
}
