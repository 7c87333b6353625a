//! In what numbers this device is fastest, and how far they are from `f32`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use flowturbo::{ErrorKind, Model, Precision, Request, Session};
use serde_json::{Value, json};

use super::Tune;
use crate::failure::Failure;
use crate::times::{self, Spread, Times};
use crate::{machine, units};

/// How far latents may be from those of `f32` unless the caller says otherwise, as root mean square. Of the bundled
/// model those of `int8` are 0.021 at most, which neither eyes nor Fréchet distances tell (docs/precision.md).
pub const MOST_ERROR: f32 = 0.03;
/// Numbers that gain less than this are not worth it.
const LEAST_GAIN: f64 = 1.03;
/// Images that latents are compared on, at most.
const IMAGES: usize = 16;
/// Rounds of timing a pair: at least the first, then until they have taken this long, at most the last.
const ROUNDS: (usize, Duration, usize) = (5, Duration::from_millis(1500), 25);

/// Numbers that this processor has.
pub struct Numbers {
    pub precision: Precision,
    /// One image.
    pub time: Duration,
    /// How many times as fast it is as in `f32`, the median of each round's.
    pub speedup: f64,
    /// Of latents, from those of `f32`, as root mean square.
    pub error: f64,
}

/// Every precision that there is here, `f32` first; images of `request` by the bundle's own schedule. Each is compared
/// with `f32` by itself, so that two models are in memory at once and no more.
pub fn measure(tune: &Tune, model: &Model, request: &Request) -> Result<Vec<Numbers>, Failure> {
    let mut request = request.clone();
    request.schedule = None;
    request.classes.truncate(IMAGES);
    let mut one = request.clone();
    one.classes.truncate(1);
    let (mut exact, reference) = ready(model.session(), &request, &one)?;
    let (mut others, mut base) = (Vec::new(), Vec::new());
    for &precision in Precision::ALL {
        if matches!(precision, Precision::F32 | Precision::Auto) {
            continue;
        }
        // A model takes its bundle; with the presets that it has, another one is the same.
        let copy = model.bundle().with_presets(model.bundle().presets())?;
        let loaded = tune.computing.load_in(copy, 1, &tune.keeping, precision);
        let (mut session, made) = match loaded.and_then(|model| ready(model.session(), &request, &one)) {
            Ok(ready) => ready,
            Err(error) if is_not_here(error.kind()) => {
                log::info!("precision {precision} is left out: {error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let [f32, it] = in_turns([&mut exact, &mut session], &one)?;
        let ratios = f32.iter().zip(&it).map(|(f32, it)| f32.as_secs_f64() / it.as_secs_f64());
        others.push(Numbers {
            precision,
            time: typical(&it),
            speedup: median(ratios),
            error: root_mean_square(&made, &reference),
        });
        base.extend(f32);
    }
    if base.is_empty() {
        let mut times = Times::default();
        times.measure(&mut exact, &one)?;
        base = times.whole;
    }
    let f32 = Numbers { precision: Precision::F32, time: typical(&base), speedup: 1.0, error: 0.0 };
    Ok(std::iter::once(f32).chain(others).collect())
}

/// Whether numbers of which this is said are not on this processor, not of this model, or too large for this device.
fn is_not_here(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unsupported | ErrorKind::OutOfMemory | ErrorKind::LimitExceeded)
}

/// A session that has made the latents of `request`, and is prepared for the image that is timed.
fn ready(mut session: Session, request: &Request, one: &Request) -> flowturbo::Result<(Session, Vec<f32>)> {
    let latents = session.latents_with(request, &mut |_| ControlFlow::Continue(()))?;
    let latents = latents.iter().copied().collect();
    session.prepare(one, times::output(session.model()))?;
    Ok((session, latents))
}

/// What whole images take by both, in turns.
fn in_turns(sessions: [&mut Session; 2], one: &Request) -> Result<[Vec<Duration>; 2], Failure> {
    let mut pairs = sessions.map(|session| (session, Times::default()));
    let ((least, enough, most), started) = (ROUNDS, Instant::now());
    for round in 0..most {
        if round >= least && started.elapsed() >= enough {
            break;
        }
        for (session, times) in &mut pairs {
            times.measure(session, one)?;
        }
    }
    Ok(pairs.map(|(_, times)| times.whole))
}

fn typical(times: &[Duration]) -> Duration {
    Spread::of(times).map_or(Duration::ZERO, |spread| spread.median)
}

fn root_mean_square(latents: &[f32], exact: &[f32]) -> f64 {
    let sum: f64 = latents.iter().zip(exact).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / exact.len().max(1) as f64).sqrt()
}

fn median(ratios: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = ratios.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(1.0)
}

/// The fastest whose error is within `most`; `f32` where none is faster.
pub fn best(numbers: &[Numbers], most: f32) -> Option<&Numbers> {
    let within = |it: &&Numbers| it.error <= f64::from(most) && it.speedup >= LEAST_GAIN;
    let fastest = numbers.iter().filter(within).max_by(|a, b| a.speedup.total_cmp(&b.speedup));
    fastest.or(numbers.first())
}

/// What is stored beside the numbers that were measured here.
pub fn device(model: &Model) -> String {
    format!("{}, {}", machine::processor(), units::plural(model.threads(), "thread"))
}

/// A number as it is stored: three digits are more than a measurement has.
pub fn shortened(number: f64) -> f32 {
    format!("{number:.2e}").parse().unwrap_or_default()
}

pub fn text(numbers: &[Numbers], best: Option<&Numbers>) -> String {
    let mut text = format!("\n{:12} {:>10} {:>10} {:>10}\n", "precision", "image", "f32 / it", "error");
    for Numbers { precision, time, speedup, error } in numbers {
        let taken = if best.is_some_and(|best| best.precision == *precision) { "   auto" } else { "" };
        let (name, time) = (precision.to_string(), units::time(*time));
        text += &format!("{name:12} {time:>10} {speedup:>10.2} {error:>10.4}{taken}\n");
    }
    text
}

pub fn json(numbers: &[Numbers], best: Option<&Numbers>) -> Value {
    let of = |it: &Numbers| {
        let Numbers { precision, time, speedup, error } = it;
        json!({
            "numbers": precision.to_string(), "time": time.as_secs_f64(), "speedup": speedup, "error": error,
        })
    };
    json!({
        "auto": best.map(|best| best.precision.to_string()),
        "tried": numbers.iter().map(of).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_within_the_bound_is_taken_and_f32_where_none_gains() {
        let of = |precision, speedup, error| Numbers { precision, time: Duration::ZERO, speedup, error };
        let mut numbers = vec![
            of(Precision::F32, 1.0, 0.0),
            of(Precision::F16Weights, 1.01, 0.0),
            of(Precision::Bf16, 1.6, 0.004),
            of(Precision::Int8, 2.3, 0.02),
        ];
        let taken = |numbers: &[Numbers], most| best(numbers, most).map(|best| best.precision);
        assert_eq!(taken(&numbers, MOST_ERROR), Some(Precision::Int8));
        assert_eq!(taken(&numbers, 0.01), Some(Precision::Bf16));
        assert_eq!(taken(&numbers, 0.0), Some(Precision::F32), "one in a hundred is nothing");
        numbers[3].error = f64::NAN;
        assert_eq!(taken(&numbers, 1.0), Some(Precision::Bf16));
    }
}
