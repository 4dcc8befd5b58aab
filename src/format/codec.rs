//! Little-endian reading and writing with bounds checks, shared by the binary objects.
