//! Reasons not to exit yet, held by any thread.
//!
//! A drain waits for what is in flight on connections. A [`Guard`](crate::Guard) makes the drain
//! wait for something else, such as a queue to be flushed, up to the deadline. The report names the
//! guards that were still held then. Knows no connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guards of one server.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    held: Mutex<Held>,
    /// The length of `held`, for a look without the lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    names: Vec<(u64, String)>,
}

impl Guards {
    pub(crate) fn hold(&self, name: String) -> u64 {
        let mut held = self.lock();
        let number = held.next;
        held.next += 1;
        held.names.push((number, name));
        self.count.store(held.names.len(), Ordering::Release);
        number
    }

    /// Releases one guard, and returns whether it was the last.
    pub(crate) fn release(&self, number: u64) -> bool {
        let mut held = self.lock();
        held.names.retain(|(other, _)| *other != number);
        self.count.store(held.names.len(), Ordering::Release);
        held.names.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Returns the names of the held guards, in the order they were taken.
    pub(crate) fn names(&self) -> Vec<String> {
        let held = self.lock();
        held.names.iter().map(|(_, name)| name.clone()).collect()
    }

    /// Locks also after a panic: none happens with the lock, and the list would be whole.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the names for a line that people read: each name once, at most five names. Empty if no
/// guard is held.
pub(crate) fn held_by(names: &[String]) -> String {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match groups.iter_mut().find(|(other, _)| other == name) {
            Some((_, count)) => *count += 1,
            None => groups.push((name, 1)),
        }
    }
    let mut text = String::new();
    for (n, (name, count)) in groups.iter().take(SHOWN).enumerate() {
        text += if n == 0 { "; held by " } else { ", " };
        text += &format!("{name:?}");
        if *count > 1 {
            text += &format!(" ({count} times)");
        }
    }
    match groups.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// How many names a line has room for.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_says_so() {
        let guards = Guards::default();
        assert!(guards.is_empty());
        let one = guards.hold("one".into());
        let two = guards.hold("two".into());
        assert_eq!(guards.names(), ["one", "two"]);
        assert!(!guards.release(one) && !guards.is_empty());
        assert_eq!(guards.names(), ["two"]);
        assert!(guards.release(two) && guards.is_empty());
    }

    #[test]
    fn a_line_has_each_name_once_and_a_few_of_many() {
        let held =
            |names: &[&str]| held_by(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(held(&[]), "");
        assert_eq!(held(&["flush"]), r#"; held by "flush""#);
        let some = ["flush", "job", "flush", "flush"];
        assert_eq!(held(&some), r#"; held by "flush" (3 times), "job""#);
        let many = ["a", "b", "c", "d", "e", "f", "g", "a"];
        let line = r#"; held by "a" (2 times), "b", "c", "d", "e" and 2 more"#;
        assert_eq!(held(&many), line);
    }
}
