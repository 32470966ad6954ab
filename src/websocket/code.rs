//! Close codes (RFC 6455 §7.4.1) that this server sends, or that a program may want.

/// The purpose of the connection is fulfilled.
pub const NORMAL: u16 = 1000;
/// The server stops, or a browser leaves the page.
pub const AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL: u16 = 1002;
/// The program does not take this type of data.
pub const UNSUPPORTED: u16 = 1003;
/// Never sent: the peer's Close had no code.
pub const NONE: u16 = 1005;
/// Never sent: the connection ended without a Close.
pub const ABNORMAL: u16 = 1006;
/// Text is not UTF-8.
pub const INVALID: u16 = 1007;
/// The message breaks a rule of the program.
pub const POLICY: u16 = 1008;
/// The message exceeds the limit.
pub const TOO_BIG: u16 = 1009;
/// The server failed.
pub const INTERNAL: u16 = 1011;

/// Returns whether a code may stand in a Close (RFC 6455 §7.4, and IANA's registry).
pub(super) const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Returns a program's code, or 1011 with an error in the log if it must not be sent.
pub(super) fn sendable(code: u16) -> u16 {
    if is_sendable(code) {
        return code;
    }
    log::error!("{code} must not stand in a Close");
    INTERNAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_must_not_be_sent_become_1011() {
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            assert_eq!(sendable(code), INTERNAL, "{code}");
        }
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 4999,
        ] {
            assert_eq!(sendable(code), code);
        }
    }
}
