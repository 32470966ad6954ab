//! A doubly linked list through a slab: each entry carries its links, a list is two ends and a
//! count.
//!
//! Appending and unlinking touch the entry, its neighbours and the list, whatever the length.
//! Several lists may run through one slab, as long as each entry is in one of them at a time.

use std::mem;

use slab::Slab;

/// No entry. A slab never gives this key, so looking the key up finds nothing.
pub(crate) const NIL: u32 = u32::MAX;

/// The neighbours of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

impl Links {
    /// The links of an entry in no list.
    pub(crate) const NONE: Self = Self {
        prev: NIL,
        next: NIL,
    };
}

/// An entry of a slab that can be in a list.
pub(crate) trait Linked {
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// The ends of a list, and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        len: 0,
    };

    /// Returns the key of the first entry, or [`NIL`].
    pub(crate) const fn head(&self) -> u32 {
        self.head
    }

    /// Returns the key of the last entry, or [`NIL`].
    pub(crate) const fn tail(&self) -> u32 {
        self.tail
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends an entry that is in no list.
    #[inline]
    pub(crate) fn append<T: Linked>(&mut self, slab: &mut Slab<T>, key: u32) {
        let links = self.push(key);
        *slab[key as usize].links_mut() = links;
        if links.prev != NIL {
            slab[links.prev as usize].links_mut().next = key;
        }
    }

    /// Makes an entry the last, and returns its links. The caller stores the links, and links the
    /// former tail.
    #[inline(always)]
    pub(crate) fn push(&mut self, key: u32) -> Links {
        let prev = mem::replace(&mut self.tail, key);
        self.len += 1;
        if prev == NIL {
            self.head = key;
        }
        Links { prev, next: NIL }
    }

    /// Unlinks an entry of this list. The entry's own links stay as they were.
    #[inline]
    pub(crate) fn unlink<T: Linked>(&mut self, slab: &mut Slab<T>, key: u32) {
        let links = slab[key as usize].links();
        self.close_gap(slab, links);
    }

    /// Links the neighbours of an entry that leaves this list.
    #[inline]
    pub(crate) fn close_gap<T: Linked>(&mut self, slab: &mut Slab<T>, links: Links) {
        let Links { prev, next } = links;
        self.len -= 1;
        if prev == NIL {
            self.head = next;
        } else {
            slab[prev as usize].links_mut().next = next;
        }
        if next == NIL {
            self.tail = prev;
        } else {
            slab[next as usize].links_mut().prev = prev;
        }
    }

    /// Iterates over the entries from the first to the last.
    pub(crate) fn iter<T: Linked>(self, slab: &Slab<T>) -> impl Iterator<Item = (u32, &T)> {
        let mut next = self.head;
        std::iter::from_fn(move || {
            let key = next;
            let entry = slab.get(key as usize)?;
            next = entry.links().next;
            Some((key, entry))
        })
    }

    /// Asserts that links, ends and length agree. O(n): for tests, the simulator and fuzzers.
    ///
    /// # Panics
    ///
    /// When they disagree.
    pub(crate) fn check<T: Linked>(self, slab: &Slab<T>) {
        let (mut last, mut len) = (NIL, 0);
        for (key, entry) in self.iter(slab) {
            assert_eq!(entry.links().prev, last, "a broken back link");
            last = key;
            len += 1;
            assert!(len <= self.len, "a list longer than its count");
        }
        assert_eq!(
            (self.tail, self.len),
            (last, len),
            "a list that ends elsewhere"
        );
    }
}
