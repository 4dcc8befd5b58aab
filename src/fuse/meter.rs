//! Runs one request: spans, times and counts it, outlives its panic, and turns what went wrong into its errno.

use super::errno::{self, Fault, Refusal};
use super::metrics::{Metrics, Op};
use fuser::{Errno, INodeNo};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Counts into a mount's metrics; cheap to clone, for requests that get a thread of their own.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Metrics>);

impl Meter {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.0
    }

    pub(super) fn run<T>(&self, op: Op, node: INodeNo, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Errno> {
        let _span = tracing::trace_span!("request", ?op, node = node.0).entered();
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            self.0.events.panics.fetch_add(1, Relaxed);
            Err(Refusal::Bug.into())
        });
        self.0.record(op, start.elapsed(), outcome.is_err());
        outcome.map_err(|fault| {
            if errno::is_trouble(&fault) {
                tracing::error!(?op, node = node.0, error = %fault, "request failed");
            } else {
                tracing::trace!(error = %fault, "refused");
            }
            errno::of(&fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_panics_is_answered_and_counted() {
        let metrics = Arc::new(Metrics::default());
        let meter = Meter::new(Arc::clone(&metrics));
        let answer: Result<(), Errno> = meter.run(Op::Read, INodeNo(1), || panic!("on purpose"));
        assert_eq!(answer.unwrap_err().code(), libc::EIO);
        assert_eq!(metrics.snapshot().count("panics"), Some(1));
        assert_eq!(metrics.snapshot().count("read"), Some(1));
    }
}
