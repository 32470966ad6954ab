//! The latest events of a topic, numbered from 0 and bounded in number and bytes.

use std::collections::VecDeque;

use crate::app::SharedBytes;

/// The ring: the numbers of its events have no gap.
#[derive(Default)]
pub(super) struct Ring {
    events: VecDeque<Published>,
    /// The number of the oldest event.
    first: u64,
    bytes: usize,
}

struct Published {
    bytes: SharedBytes,
    own_id: Option<Box<str>>,
}

impl Ring {
    /// Returns the number of the oldest event.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number that the next event gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Returns the event of that number, if the ring holds it.
    pub(super) fn get(&self, number: u64) -> Option<&SharedBytes> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get(index).map(|event| &event.bytes)
    }

    /// Adds an event, and drops the oldest ones that exceed the limits. The latest always stays.
    pub(super) fn push(
        &mut self,
        bytes: SharedBytes,
        own_id: Option<Box<str>>,
        max_events: usize,
        max_bytes: usize,
    ) {
        self.bytes += bytes.bytes().len();
        self.events.push_back(Published { bytes, own_id });
        while self.events.len() > 1
            && (self.events.len() > max_events || self.bytes > max_bytes)
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= oldest.bytes.bytes().len();
            self.first += 1;
        }
    }

    /// Returns the number of the oldest event behind the one with that id; of the oldest of all if
    /// the id is unknown.
    pub(super) fn after(&self, last: &[u8], era: u32) -> u64 {
        if let Some(number) = parse_id(last, era) {
            return number.saturating_add(1).clamp(self.first, self.next());
        }
        let is_last = |event: &Published| {
            let id = event.own_id.as_deref();
            id.is_some_and(|id| id.as_bytes() == last)
        };
        match self.events.iter().rposition(is_last) {
            Some(index) => self.first + index as u64 + 1,
            None => self.first,
        }
    }
}

/// Returns the id of an event that has none of its own. The era tells the ids of one topic and
/// process from those of others.
pub(super) fn id(era: u32, number: u64) -> String {
    format!("{era:08x}-{number}")
}

/// Returns the number in an id of that era.
fn parse_id(id: &[u8], era: u32) -> Option<u64> {
    let (prefix, number) = str::from_utf8(id).ok()?.split_once('-')?;
    let is_ours = u32::from_str_radix(prefix, 16) == Ok(era);
    number.parse().ok().filter(|_| is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_by_number_and_by_bytes() {
        let mut ring = Ring::default();
        for (length, expected) in [
            (30, (0, 1)),
            (30, (0, 2)),
            (30, (0, 3)),
            (30, (1, 3)),
            (150, (3, 2)),
            (1_000, (5, 1)), // the latest always stays
        ] {
            ring.push(SharedBytes::new(&vec![b'z'; length]), None, 3, 180);
            let bytes: usize = ring.events.iter().map(|e| e.bytes.bytes().len()).sum();
            assert_eq!(bytes, ring.bytes);
            assert_eq!((ring.first, ring.events.len()), expected);
        }
    }
}
