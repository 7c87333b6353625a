//! The functions that a recurrent network may name.

use tract_onnx::tract_hir::internal::*;

use super::super::broken;

/// One of the standard's activations; its numbers are kept by their bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Activation {
    function: Function,
    alpha: u32,
    beta: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    Affine,
    Elu,
    HardSigmoid,
    LeakyRelu,
    Relu,
    ScaledTanh,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
}

/// The name of each, and its alpha and beta where the standard gives any.
const KNOWN: [(&str, Function, Option<f32>, Option<f32>); 11] = [
    ("Affine", Function::Affine, Some(1.0), Some(0.0)),
    ("Elu", Function::Elu, Some(1.0), None),
    ("HardSigmoid", Function::HardSigmoid, Some(0.2), Some(0.5)),
    ("LeakyRelu", Function::LeakyRelu, Some(0.01), None),
    ("Relu", Function::Relu, None, None),
    ("ScaledTanh", Function::ScaledTanh, Some(1.0), Some(1.0)),
    ("Sigmoid", Function::Sigmoid, None, None),
    ("Softplus", Function::Softplus, None, None),
    ("Softsign", Function::Softsign, None, None),
    ("Tanh", Function::Tanh, None, None),
    ("ThresholdedRelu", Function::ThresholdedRelu, Some(1.0), None),
];

impl Activation {
    /// Those of `names`, in order; each that has numbers takes the next ones, as long as there are any.
    pub(super) fn list(names: &[&str], alphas: &[f32], betas: &[f32]) -> TractResult<Vec<Self>> {
        let (mut alphas, mut betas) = (alphas.iter(), betas.iter());
        let mut list = Vec::new();
        for name in names {
            let known = KNOWN.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
            let Some(&(_, function, alpha, beta)) = known else {
                return Err(broken(format!(
                    "attribute 'activations' names '{name}', which the standard lacks"
                )));
            };
            let number = |default: Option<f32>, given: &mut std::slice::Iter<f32>| {
                default.map_or(0.0, |default| given.next().copied().unwrap_or(default)).to_bits()
            };
            let (alpha, beta) = (number(alpha, &mut alphas), number(beta, &mut betas));
            list.push(Self { function, alpha, beta });
        }
        if alphas.next().is_some() || betas.next().is_some() {
            return Err(broken(
                "attributes 'activation_alpha' and 'activation_beta' hold more than is asked for",
            ));
        }
        Ok(list)
    }

    pub(super) fn of(&self, x: f32) -> f32 {
        let (alpha, beta) = (f32::from_bits(self.alpha), f32::from_bits(self.beta));
        match self.function {
            Function::Affine => alpha * x + beta,
            Function::Elu => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x.exp_m1()
                }
            }
            Function::HardSigmoid => (alpha * x + beta).clamp(0.0, 1.0),
            Function::LeakyRelu => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x
                }
            }
            Function::Relu => x.max(0.0),
            Function::ScaledTanh => alpha * (beta * x).tanh(),
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Function::Softsign => x / (1.0 + x.abs()),
            Function::Tanh => x.tanh(),
            Function::ThresholdedRelu => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
        }
    }
}
