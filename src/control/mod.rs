//! control (to come).
