//! layer (to come).
