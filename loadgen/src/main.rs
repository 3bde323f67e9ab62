//! The load generator command.

fn main() {}
