//! Rounding to as many numbers as a byte has, by what is to be rounded: `DynamicQuantizeLinear`.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::operators::rounded::Rounded;
use super::{Whole, Writer, Zero};

/// Added and taken away again, it leaves a float below 2^22 rounded to a whole number, ties to even.
const ROUNDING: f32 = 12_582_912.0;

/// Times this, the least float above 0 is many times the least normal one.
const MUCH: f32 = (1u128 << 100) as f32;

impl Writer<'_> {
    /// Makes numbers and scale of `node` as floats.
    pub(super) fn dynamic(&mut self, node: &NodeProto) {
        let ([x], [whole, old_scale, whole_zero]) = (node.input.as_slice(), node.output.as_slice()) else {
            return;
        };
        let (made, place) = (&mut self.made, node.name.as_str());
        let zero = made.scalar(place, 0.0);
        let most = made.scalar(place, 255.0);
        let least_scale = made.scalar(place, f32::MIN_POSITIVE);
        let rounding = made.scalar(place, ROUNDING);
        let one = made.scalar(place, 1.0);
        let much = made.scalar(place, MUCH);
        // 0 lies between the ends.
        let negative = made.node("Neg", &[x], place);
        let [top, bottom] = [x, &negative].map(|x| {
            let end = made.node("ReduceMax", &[x], place);
            made.attribute("keepdims", 0);
            made.node("Max", &[&end, &zero], place)
        });
        let range = made.node("Add", &[&top, &bottom], place);
        // By 255 itself: products by the reciprocal of what is constant may be another number.
        let nothing = made.node("Sub", &[&range, &range], place);
        let steps = made.node("Add", &[&nothing, &most], place);
        let step = made.node("Div", &[&range, &steps], place);
        let step = made.node("Max", &[&step, &least_scale], place);
        // Zeros alone are zero by any scale; ONNX Runtime takes 1, and whoever looks at it sees that.
        let range = made.node("Mul", &[&range, &much], place);
        let some = made.rounded(&Rounded::new(f32::MIN_POSITIVE, 0, 1), &range, place);
        let none = made.node("Sub", &[&one, &some], place);
        let scale = made.node("Add", &[&step, &none], place);
        let [middle, numbers] = [&bottom, x].map(|x| {
            let steps = made.node("Div", &[x, &scale], place);
            let high = made.node("Add", &[&steps, &rounding], place);
            made.node("Sub", &[&high, &rounding], place)
        });
        let numbers = made.node("Add", &[&numbers, &middle], place);
        let numbers = made.node("Max", &[&numbers, &zero], place);
        let numbers = made.node("Min", &[&numbers, &most], place);
        let floats = made.node("Sub", &[&numbers, &middle], place);
        self.scales.insert(old_scale.clone(), scale);
        self.wholes.insert(
            whole.clone(),
            Whole { floats, zero: Zero::Made(whole_zero.clone()), kind: DataType::Uint8 },
        );
    }
}
