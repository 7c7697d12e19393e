//! The `gopool-sv2` program.

fn main() {}
