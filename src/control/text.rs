//! How people write and read values: durations, sizes, paths that needn't be UTF-8.
//!
//! Invariant: parsing text that a person wrote never panics, whatever the text.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// Text that isn't a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write a number and a unit, such as `0s`, `90s`, `10m`, `12h`, `30d`, `2w`, `1h30m`")]
pub struct BadDuration(String);

/// Parses `10m`, `1h30m`, `0s`, `2w`; a bare number is refused, for its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration(text.to_owned());
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let seconds = match &rest[..letters] {
            "ms" => {
                total = total.checked_add(Duration::from_millis(count)).ok_or_else(bad)?;
                rest = &rest[letters..];
                continue;
            }
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return Err(bad()),
        };
        let part = Duration::from_secs(count.checked_mul(seconds).ok_or_else(bad)?);
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = &rest[letters..];
    }
    Ok(total)
}

/// A duration for people: `350 ms`, `12.4 s`, `3 m 20 s`, `5 h 2 m`, `3 d 4 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_millis() < 10 => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A number of bytes for people, in SI units: `1.2 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be printed as 1000.0
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Raw bytes as one printable line that says which bytes they were: valid UTF-8 stays, `\` is doubled, control characters and other bytes
/// become `\xNN`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => {
                    let mut buffer = [0; 4];
                    c.encode_utf8(&mut buffer).bytes().for_each(|byte| push_hex(&mut text, byte));
                }
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_hex(&mut text, byte));
    }
    text
}

/// A path as text: see [`escape`].
pub fn escape_path(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

fn push_hex(text: &mut String, byte: u8) {
    // writing to a String can't fail
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that [`escape`] wrote; `None` for a `\` that it would not have written.
    fn unescape(text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = match (first, after) {
                (b'\\', [b'\\', after @ ..]) => {
                    bytes.push(b'\\');
                    after
                }
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    bytes.push(digit(*high)? << 4 | digit(*low)?);
                    after
                }
                (b'\\', _) => return None,
                (byte, after) => {
                    bytes.push(byte);
                    after
                }
            };
        }
        Some(bytes)
    }
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_their_units() {
        let secs = |text| parse_duration(text).map(|d| d.as_secs());
        assert_eq!(secs("0s"), Ok(0));
        assert_eq!(secs("10m"), Ok(600));
        assert_eq!(secs("1h30m"), Ok(5400));
        assert_eq!(secs("2w"), Ok(14 * 86_400));
        assert_eq!(parse_duration("150ms"), Ok(Duration::from_millis(150)));
        for bad in ["", "10", "m", "-1s", "1.5h", "1y", "99999999999999999999s", "18446744073709551615w", "1h 30m", "é"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_durations_are_short() {
        let sizes: Vec<String> = [0, 999, 1000, 999_949, 999_950, 1_234_567_890, u64::MAX].map(size).to_vec();
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.2 GB", "18.4 EB"]);
        assert_eq!(duration(Duration::from_millis(350)), "350 ms");
        assert_eq!(duration(Duration::from_secs(200)), "3 m 20 s");
        assert_eq!(duration(Duration::from_secs(90_000)), "1 d 1 h");
    }

    #[test]
    fn escaped_text_is_one_readable_line() {
        assert_eq!(escape("é a\\b".as_bytes()), "é a\\\\b");
        assert_eq!(escape(b"a\nb\xff"), "a\\x0ab\\xff");
        assert_eq!(unescape("a\\q"), None);
    }

    proptest! {
        #[test]
        fn escaping_loses_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape(&text), Some(bytes));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = parse_duration(&text);
        }
    }
}
