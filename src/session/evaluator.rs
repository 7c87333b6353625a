//! One of the networks that the velocity field asks.

use std::task::Poll;
use std::time::Instant;

use super::Taken;
use crate::backend::{Condition, Input, Pace};
use crate::{CancelToken, Result, memory};

/// The predictor or the refiner of a request, and the conditions that it will be asked under.
pub(super) struct Evaluator {
    network: Taken,
    /// Conditions for each image in one call.
    pub(super) parts: usize,
    takes: Takes,
    /// As far as they are computed beforehand.
    conditions: Vec<Condition>,
    /// How many of them are computed.
    conditioned: usize,
}

/// What a network takes besides state and time.
#[derive(Clone, Copy)]
pub(super) struct Takes {
    pub(super) class: bool,
    pub(super) context: bool,
}

/// What an image is asked for under: its class, and the place of its context.
pub(super) type Wanted = (i64, usize);

/// What a network is asked with.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) x: &'a [f32],
    /// The cached velocity, for a refiner.
    pub(super) v: Option<&'a [f32]>,
    pub(super) times: &'a [f32],
    pub(super) classes: &'a [i64],
    pub(super) contexts: &'a [f32],
}

impl Evaluator {
    /// `conditions` is memory to use.
    pub(super) fn new(network: Taken, parts: usize, takes: Takes, mut conditions: Vec<Condition>) -> Self {
        conditions.clear();
        Self { network, parts, takes, conditions, conditioned: 0 }
    }

    /// Lists `times`, `most_times` at most, for what so many images are asked for under: each condition once, class by
    /// class, since one that was asked for before is known at all its times. What there is no room for is computed when
    /// its turn comes.
    pub(super) fn list(
        &mut self,
        wanted: &[Wanted],
        images: usize,
        most_times: usize,
        times: impl Iterator<Item = f32> + Clone,
    ) -> Result<()> {
        let (most, wanted) = (self.network.1.conditions().1, &wanted[..self.parts * images]);
        memory::reserve(&mut self.conditions, most.min(wanted.len() * most_times))?;
        let each = wanted.iter().enumerate().filter(|(i, one)| !wanted[..*i].contains(one));
        let conditions = each.flat_map(|(_, &(class, context))| {
            times.clone().map(move |time| Condition { time, class, context })
        });
        self.conditions.extend(conditions.take(most));
        Ok(())
    }

    /// Goes on with what depends on conditions alone, until it is done or it is time to pause.
    pub(super) fn condition(
        &mut self,
        contexts: &[f32],
        until: Option<Instant>,
        cancel: &CancelToken,
    ) -> Result<Poll<()>> {
        let network = &mut self.network.1;
        while self.conditioned < self.conditions.len() {
            let left = &self.conditions[self.conditioned..];
            let some = network.conditions().0.clamp(1, left.len());
            network.prepare(&left[..some], contexts, cancel)?;
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
        Question { x, v, times, classes, contexts }: Question,
        answer: &mut [f32],
        pace: Pace,
    ) -> Poll<Result<()>> {
        let x = Input::F32(x);
        // In the order of the contract.
        let class = self.takes.class.then_some(Input::I64(classes));
        let context = self.takes.context.then_some(Input::F32(contexts));
        let given = [Some(x), v.map(Input::F32), Some(Input::F32(times)), class, context];
        let (mut inputs, mut count) = ([x; 5], 0);
        for input in given.into_iter().flatten() {
            inputs[count] = input;
            count += 1;
        }
        self.network.1.advance(&inputs[..count], answer, pace)
    }

    /// The network, of which a call under way is given up, and the memory.
    pub(super) fn end(mut self) -> (Taken, Vec<Condition>) {
        self.network.1.abandon();
        (self.network, self.conditions)
    }
}
