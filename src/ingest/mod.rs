//! ingest (to come).
