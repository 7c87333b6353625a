//! Numbers for people: times, sizes, counts.

use std::time::Duration;

/// `412.3 ms`, or `2.31 s` from a second on.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// What `80ms`, `0.5s` or `1500us` mean: more than nothing, at most an hour.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0)];
    let number = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let Some((number, seconds)) = number else {
        return Err("needs a unit: 80ms, 0.5s".into());
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(number) if plain && (1e-6..=3600.0).contains(&(number * seconds)) => {
            Ok(Duration::from_secs_f64(number * seconds))
        }
        Ok(_) if plain => Err("must be from 1us to 3600s".into()),
        _ => Err("must be a number and a unit, such as 80ms or 0.5s".into()),
    }
}

/// `412.3 MiB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["bytes", "KiB", "MiB", "GiB", "TiB"])
}

/// `12.3 M`.
pub fn count(count: u64) -> String {
    scaled(count as f64, 1000.0, &["", "k", "M", "G", "T", "P"])
}

fn scaled(mut value: f64, base: f64, units: &[&str]) -> String {
    let (mut unit, mut decimals) = (units.first().copied().unwrap_or_default(), 0);
    for next in units.iter().skip(1) {
        if value < base {
            break;
        }
        value /= base;
        (unit, decimals) = (next, 1);
    }
    format!("{value:.decimals$} {unit}").trim_end().to_owned()
}

/// As few digits as tell this number from its neighbours; widening would show more than it knows.
pub fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// `1 image`, `4 images`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_short() {
        assert_eq!(time(Duration::from_micros(12_345)), "12.3 ms");
        assert_eq!(time(Duration::from_millis(2_310)), "2.31 s");
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(5 << 19), "2.5 MiB");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567_890), "1.2 G");
        assert_eq!(decimal(0.18215), 0.18215);
        assert_eq!(plural(1, "image") + " " + &plural(2, "call"), "1 image 2 calls");
    }

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, micros) in
            [("80ms", 80_000), ("0.5s", 500_000), ("1500us", 1_500), (".25ms", 250), ("2s", 2_000_000)]
        {
            assert_eq!(parse_time(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for (text, part) in [
            ("80", "unit"),
            ("", "unit"),
            ("ms", "a number and a unit"),
            ("-5ms", "a number and a unit"),
            ("infs", "a number and a unit"),
            ("1e3ms", "a number and a unit"),
            ("80 ms", "a number and a unit"),
            ("0ms", "1us to 3600s"),
            ("3601s", "1us to 3600s"),
            ("99999999999999999999s", "1us to 3600s"),
        ] {
            assert!(parse_time(text).is_err_and(|message| message.contains(part)), "{text}");
        }
    }
}
