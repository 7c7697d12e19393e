//! Stratum V2 listener for Go mining pools.
