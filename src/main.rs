//! Arguments, configuration, controller; error to exit code; nothing else.

fn main() {}
