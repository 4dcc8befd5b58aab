//! gc (to come).
