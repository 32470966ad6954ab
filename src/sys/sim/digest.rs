//! One number for all that the engine did to the world: FNV-1a, 64 bits.

/// The digest so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest {
    value: u64,
    /// The peer of the last bytes: a write and its continuation count as one.
    writing: Option<u32>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            value: OFFSET_BASIS,
            writing: None,
        }
    }
}

impl Digest {
    pub(super) const fn value(&self) -> u64 {
        self.value
    }

    /// Adds bytes written to a peer.
    pub(super) fn bytes(&mut self, peer: u32, bytes: &[u8]) {
        if self.writing != Some(peer) {
            self.writing = Some(peer);
            self.mix(b"w");
            self.mix(&peer.to_le_bytes());
        }
        self.mix(bytes);
    }

    /// Adds another deed to a peer, and its time.
    pub(super) fn deed(&mut self, name: u8, peer: u32, millis: u32) {
        self.writing = None;
        self.mix(&[name]);
        self.mix(&peer.to_le_bytes());
        self.mix(&millis.to_le_bytes());
    }

    fn mix(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.value = (self.value ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
}

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_as_fnv_1a_does() {
        // From the test vectors of the FNV reference code.
        for (text, expected) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            let mut digest = Digest::default();
            digest.mix(text.as_bytes());
            assert_eq!(digest.value(), expected, "{text}");
        }
    }

    #[test]
    fn peers_order_and_times_count_and_cuts_do_not() {
        let of = |deeds: &dyn Fn(&mut Digest)| {
            let mut digest = Digest::default();
            deeds(&mut digest);
            digest.value()
        };
        let whole = of(&|d| d.bytes(1, b"ab"));
        let cut = of(&|d| {
            d.bytes(1, b"a");
            d.bytes(1, b"b");
        });
        let others = [
            of(&|d| d.bytes(2, b"ab")),
            of(&|d| d.bytes(1, b"ba")),
            of(&|d| {
                d.bytes(1, b"a");
                d.deed(b'c', 1, 0);
                d.bytes(1, b"b");
            }),
        ];
        assert_eq!(whole, cut);
        assert!(!others.contains(&whole));
        assert_ne!(of(&|d| d.deed(b'c', 1, 0)), of(&|d| d.deed(b'c', 1, 1)));
        assert_ne!(of(&|d| d.deed(b'c', 1, 0)), of(&|d| d.deed(b'a', 1, 0)));
    }
}
