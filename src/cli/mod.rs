//! The command: `ebbtide serve`.
