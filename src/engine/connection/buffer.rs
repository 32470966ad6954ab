//! How much of a used buffer stays for the next connection.

/// Empties a buffer, and frees one that grew large.
pub(super) fn trim(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP_BYTES {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

/// The largest buffer that a spare keeps, in bytes. It holds the usual requests, and the four
/// buffers of all spares are 16 MiB at most.
pub(super) const KEEP_BYTES: usize = 16 * 1024;
