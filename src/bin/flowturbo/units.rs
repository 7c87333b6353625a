//! Numbers for people: times, sizes, counts.

use std::time::Duration;

/// `412.3 ms`, or `2.31 s` from a second on.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
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
}
