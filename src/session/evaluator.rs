//! One of the networks that the velocity field asks.

use std::task::Poll;
use std::time::Instant;

use super::Taken;
use crate::backend::{Input, Pace};
use crate::{CancelToken, Result, memory};

/// The predictor or the refiner of a request, and the conditions that it will be asked under.
pub(super) struct Evaluator {
    network: Taken,
    /// Conditions for each image in one call.
    pub(super) parts: usize,
    takes_class: bool,
    /// Times and classes, as far as they are computed beforehand.
    conditions: Vec<(f32, i64)>,
    /// How many of them are computed.
    conditioned: usize,
}

/// What a network is asked with.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) x: &'a [f32],
    /// The cached velocity, for a refiner.
    pub(super) v: Option<&'a [f32]>,
    pub(super) times: &'a [f32],
    pub(super) classes: &'a [i64],
}

impl Evaluator {
    /// `conditions` is memory to use.
    pub(super) fn new(
        network: Taken,
        parts: usize,
        takes_class: bool,
        mut conditions: Vec<(f32, i64)>,
    ) -> Self {
        conditions.clear();
        Self { network, parts, takes_class, conditions, conditioned: 0 }
    }

    /// Lists `times`, `most_times` at most, for each of the classes of so many images: each pair once, class by class,
    /// since a class that was asked for before is known at all its times. What there is no room for is computed when
    /// its turn comes.
    pub(super) fn list(
        &mut self,
        classes: &[i64],
        images: usize,
        most_times: usize,
        times: impl Iterator<Item = f32> + Clone,
    ) -> Result<()> {
        let (most, classes) = (self.network.1.conditions().1, &classes[..self.parts * images]);
        memory::reserve(&mut self.conditions, most.min(classes.len() * most_times))?;
        let each = classes.iter().enumerate().filter(|(i, class)| !classes[..*i].contains(class));
        let pairs = each.flat_map(|(_, &class)| times.clone().map(move |time| (time, class)));
        self.conditions.extend(pairs.take(most));
        Ok(())
    }

    /// Goes on with what depends on times and classes alone, until it is done or it is time to pause.
    pub(super) fn condition(&mut self, until: Option<Instant>, cancel: &CancelToken) -> Result<Poll<()>> {
        let network = &mut self.network.1;
        while self.conditioned < self.conditions.len() {
            let left = &self.conditions[self.conditioned..];
            let some = network.conditions().0.clamp(1, left.len());
            network.prepare(&left[..some], cancel)?;
            self.conditioned += some;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Poll::Pending);
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Asks the network, or goes on with asking it.
    pub(super) fn evaluate(
        &mut self,
        Question { x, v, times, classes }: Question,
        answer: &mut [f32],
        pace: Pace,
    ) -> Poll<Result<()>> {
        let x = Input::F32(x);
        // In the order of the contract.
        let given = [Some(x), v.map(Input::F32), Some(Input::F32(times)), self.class(classes)];
        let (mut inputs, mut count) = ([x; 4], 0);
        for input in given.into_iter().flatten() {
            inputs[count] = input;
            count += 1;
        }
        self.network.1.advance(&inputs[..count], answer, pace)
    }

    fn class<'a>(&self, classes: &'a [i64]) -> Option<Input<'a>> {
        self.takes_class.then_some(Input::I64(classes))
    }

    /// The network, of which a call under way is given up, and the memory.
    pub(super) fn end(mut self) -> (Taken, Vec<(f32, i64)>) {
        self.network.1.abandon();
        (self.network, self.conditions)
    }
}
