//! System calls that a signal interrupts (EINTR).

use std::io::{self, ErrorKind};

/// Repeats a call while it is interrupted, up to [`RETRIES`] times. Returns the last answer.
#[inline(always)]
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut left = RETRIES;
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted && left > 0 => left -= 1,
            answer => return answer,
        }
    }
}

/// A storm of signals, or a fault of the simulator, must not hold up a turn for ever.
const RETRIES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_repeated_while_it_is_interrupted_and_not_for_ever() {
        for interruptions in [0, 1, RETRIES, RETRIES + 1] {
            let mut calls = 0;
            let answer = retry(|| {
                calls += 1;
                match calls > interruptions {
                    true => Ok(calls),
                    false => Err(ErrorKind::Interrupted.into()),
                }
            });
            match interruptions {
                ..=RETRIES => assert_eq!(answer.ok(), Some(interruptions + 1)),
                _ => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Interrupted),
            }
        }
        let mut calls = 0;
        let answer = retry(|| {
            calls += 1;
            Err::<(), _>(ErrorKind::WouldBlock.into())
        });
        assert_eq!(
            (answer.unwrap_err().kind(), calls),
            (ErrorKind::WouldBlock, 1)
        );
    }
}
