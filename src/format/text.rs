//! Raw bytes as text: hexadecimal, and an escaped form that leaves ordinary names readable. Spans of time as JSON.
//!
//! Invariant: each byte string is written in one way. Reading takes other spellings too, such as upper-case digits:
//! whoever must refuse them writes again and compares.

use serde::Serializer;
use std::fmt::Write as _;
use std::time::Duration;

/// A span of time as all JSON has it: a number of seconds, with a fraction.
pub(crate) fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

/// Two lower-case digits for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes all
    }
    text
}

/// The bytes of an even number of digits.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { byte(*high, *low) } else { None }).collect()
}

/// Visible ASCII as it is; `%` and all other bytes as `%` and two digits.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(byte.into());
        } else {
            let _ = write!(text, "%{byte:02x}"); // a String takes all
        }
    }
    text
}

/// The bytes that [`escape`] made text of.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Some(bytes),
            [b'%', high, low, after @ ..] => {
                bytes.push(byte(*high, *low)?);
                after
            }
            [b'%', ..] => return None,
            [plain, after @ ..] => {
                bytes.push(*plain);
                after
            }
        };
    }
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_survive_both_forms() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&all)), Some(all.clone()));
        assert_eq!(unescape(&escape(&all)), Some(all));
        assert_eq!(escape(b"user.a b%\xff"), "user.a%20b%25%ff");
    }

    #[test]
    fn cut_or_foreign_digits_are_refused() {
        for text in ["a", "0g", "é"] {
            assert_eq!(unhex(text), None, "{text}");
        }
        for text in ["%", "%a", "%zz"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
