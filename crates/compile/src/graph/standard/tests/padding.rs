//! `Pad` and `Slice` held to the standard's own words, element by element; `tests/library/sweep.rs` holds them and
//! all others to ONNX Runtime.

use super::{answer, element};
use crate::graph::testing::written;

/// Rows and columns of a plane.
const SIZE: [i64; 2] = [8, 16];

/// The answer, each element of which is the input's at the place that `place` gives: plane, row and column.
fn expect(text: &str, place: impl Fn(i64, i64) -> Option<(i64, i64)>) {
    let model = written(text);
    for (i, found) in answer(&model).into_iter().enumerate() {
        let (plane, row, column) = (i / 128, (i / 16 % 8) as i64, (i % 16) as i64);
        let wanted = place(row, column).map_or(0.0, |(y, x)| element(plane * 128 + (y * 16 + x) as usize));
        assert_eq!(found, wanted, "{text}: plane {plane}, row {row}, column {column}");
    }
}

#[test]
fn a_pad_crops_first_and_repeats_what_is_left() {
    for (mode, top, bottom, left, right) in [
        ("constant", -1, 1, 1, -1),
        ("constant", 3, -3, -5, 5),
        ("reflect", -1, 1, 1, -1),
        ("reflect", 3, -3, -2, 2),
        ("edge", -2, 2, 5, -5),
        ("edge", 4, -4, -7, 7),
        ("wrap", 1, -1, -1, 1),
        ("wrap", -3, 3, 6, -6),
        ("wrap", -6, 6, -14, 14),
    ] {
        let text = format!(
            "opset 19\n p = [0, 0, {top}, {left}, 0, 0, {bottom}, {right}]\n velocity = Pad(x, p) mode={mode}"
        );
        expect(&text, |row, column| {
            let at = |i: i64, size: i64, before: i64, after: i64| {
                let (first, kept) = (-before.min(0), size + before.min(0) + after.min(0));
                let i = i - before.max(0);
                let inside = (0..kept).contains(&i);
                let i = match mode {
                    "constant" if !inside => return None,
                    "reflect" if i < 0 => -i,
                    "reflect" if i >= kept => 2 * kept - 2 - i,
                    "edge" => i.clamp(0, kept - 1),
                    "wrap" => i.rem_euclid(kept),
                    _ => i,
                };
                Some(first + i)
            };
            Some((at(row, SIZE[0], top, bottom)?, at(column, SIZE[1], left, right)?))
        });
    }
}

#[test]
fn a_slice_runs_backwards_too_and_its_bounds_are_held_to_the_tensor() {
    let (most, least) = (i64::MAX, i64::MIN);
    let text = |starts: [i64; 2], ends: [i64; 2], steps: [i64; 2]| {
        format!(
            "s = {starts:?}\n e = {ends:?}\n a = [2, -1]\n p = {steps:?}\n velocity = Slice(x, s, e, a, p)"
        )
    };
    expect(&text([0, least], [most, most], [1, 1]), |row, column| Some((row, column)));
    expect(&text([-1, most], [least, -17], [-1, -1]), |row, column| Some((7 - row, 15 - column)));
    expect(&text([100, -1], [least + 1, least], [-1, -1]), |row, column| Some((7 - row, 15 - column)));
    expect(&text([7, 0], [-9, 1 << 40], [-1, 1]), |row, column| Some((7 - row, column)));
}
