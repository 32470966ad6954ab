//! Limits of what a peer may send.

/// The most that [`Limits::fields`] may say: callers keep room for that number on the stack.
pub const MAX_FIELDS: usize = 1024;

/// Limits of what a peer may send. The reader of a body limits its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, with its final empty line.
    pub head: u32,
    /// Fields of a head; at most [`MAX_FIELDS`].
    pub fields: u16,
    /// Bytes of the extensions and trailers of one body, together with digits of sizes beyond
    /// sixteen.
    pub chunk_extras: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Many times what browsers and their cookies send. A head of that length still fits
            // into the loop's read buffer, where it is parsed.
            head: 64 * 1024,
            // Apache's limit, and several times what browsers send.
            fields: 100,
            // Extensions are unused in practice; trailers are a checksum or a signature. A quarter
            // of a head is ample, and cheap to read in vain.
            chunk_extras: 16 * 1024,
        }
    }
}
