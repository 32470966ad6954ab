//! Error numbers of the kernel, without a crate that needs unsafe code.

use std::io;

/// Returns whether a call failed because descriptors or memory are used up: a later one may
/// succeed.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)
    )
}

// Numbers of the seventh edition, the same on every Unix.
pub(super) const ENOENT: i32 = 2;
pub(super) const EBADF: i32 = 9;
pub(super) const ENOMEM: i32 = 12;
pub(super) const EINVAL: i32 = 22;
pub(super) const ENFILE: i32 = 23;
pub(super) const EMFILE: i32 = 24;

// Numbers that came with sockets and differ between families of systems.
pub(super) const ENOTSOCK: i32 = if LINUX_NUMBERS {
    88
} else if SYSV_NUMBERS {
    95
} else {
    38 // BSD
};
pub(super) const ENOBUFS: i32 = if LINUX_NUMBERS {
    105
} else if SYSV_NUMBERS {
    132
} else {
    55 // BSD
};

const LINUX_NUMBERS: bool = cfg!(all(
    any(target_os = "linux", target_os = "android"),
    not(any(target_arch = "mips64", target_arch = "sparc64")),
));
/// Solaris and its descendants; Linux on MIPS adopted the numbers of IRIX.
const SYSV_NUMBERS: bool = cfg!(any(
    target_os = "solaris",
    target_os = "illumos",
    all(target_os = "linux", target_arch = "mips64"),
));

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn numbers_are_those_of_this_system() {
        const CASES: &[(i32, Errno)] = &[
            (ENOENT, Errno::ENOENT),
            (EBADF, Errno::EBADF),
            (ENOMEM, Errno::ENOMEM),
            (EINVAL, Errno::EINVAL),
            (ENFILE, Errno::ENFILE),
            (EMFILE, Errno::EMFILE),
            (ENOTSOCK, Errno::ENOTSOCK),
            (ENOBUFS, Errno::ENOBUFS),
        ];
        for (number, errno) in CASES {
            assert_eq!(*number, *errno as i32, "{errno}");
        }
    }

    #[test]
    fn a_want_of_descriptors_or_memory_may_pass() {
        let is = |errno: Errno| is_exhausted(&io::Error::from_raw_os_error(errno as i32));
        let passing = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
        assert!(passing.into_iter().all(is));
        let lasting = [Errno::EPROTONOSUPPORT, Errno::EACCES, Errno::EAFNOSUPPORT];
        assert!(!lasting.into_iter().any(is));
    }
}
