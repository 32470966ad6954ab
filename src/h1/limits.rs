//! What a peer may send before it is refused.
//!
//! Numbers alone.

/// The most that [`Limits::fields`] may say: callers keep room for so many on the stack.
pub const MAX_FIELDS: usize = 1024;

/// What a peer may send before it is refused. A body's size is for whoever takes it to limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, with the empty line that ends it.
    pub head: u32,
    /// Fields of a head; at most [`MAX_FIELDS`].
    pub fields: u16,
    /// Bytes of the extensions and trailers of one body, and digits of its sizes beyond sixteen, all
    /// together.
    pub chunk_extras: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Many times what browsers and their cookies send, and the size of the loop's read
            // buffer: a head that is read at once is parsed there.
            head: 64 * 1024,
            // Apache's limit, and several times what browsers send.
            fields: 100,
            // Nobody uses extensions; trailers are a checksum, a signature, a few numbers. A
            // quarter of a head is ample, and little enough to read for nothing.
            chunk_extras: 16 * 1024,
        }
    }
}
