//! A progress bar with rate and time left, on a terminal's standard error only.

use super::output::Output;
use crate::ingest::Progress;
use crate::locks;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the bar follows the counters.
const TICK: Duration = Duration::from_millis(100);

/// A bar that follows counters until it is dropped; nothing at all where it may not be drawn.
pub(super) struct Bar {
    watcher: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Bar {
    /// Follows `progress`. `total`: bytes of content that there will be, when that is known beforehand.
    pub(super) fn follow(out: Output, what: &str, progress: &Arc<Progress>, total: Option<u64>) -> Self {
        if !out.may_draw() {
            return Self { watcher: None };
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (what, progress, stopped) = (what.to_owned(), Arc::clone(progress), Arc::clone(&stop));
        let watch = move || watch(&what, &progress, total, &stopped);
        let thread = locks::spawn_outside("progress", watch);
        // without a thread there is no bar, and the work goes on
        Self { watcher: thread.ok().map(|thread| (stop, thread)) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.watcher.take() {
            stop.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            // a bar that panicked has drawn its last
            let _ = thread.join();
        }
    }
}

fn watch(what: &str, progress: &Progress, total: Option<u64>, stop: &AtomicBool) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style("{spinner} {prefix}  {msg}  {decimal_bytes}  {decimal_bytes_per_sec}  {elapsed}"));
    bar.set_prefix(what.to_owned());
    let mut bounded = false;
    while !stop.load(Ordering::Relaxed) {
        let input = progress.input_total();
        if let (false, Some(length)) = (bounded, total.or(input)) {
            bar.set_length(length);
            bar.set_style(style(
                "{prefix}  {wide_bar} {percent}%  {msg}  {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {elapsed}, {eta} left",
            ));
            bounded = true;
        }
        let compressed = total.is_none() && input.is_some();
        bar.set_position(if compressed { progress.input() } else { progress.bytes() });
        bar.set_message(format!("{} entries", progress.entries()));
        bar.tick();
        std::thread::park_timeout(TICK);
    }
    bar.finish_and_clear();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
