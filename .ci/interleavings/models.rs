//! How models are run.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Orders that are tried of each model by each way of choosing them.
const ORDERS: usize = 5000;
/// Points at which a thread is stopped for another, where Shuttle places few on purpose: most mistakes need no more.
const STOPS: usize = 3;

/// Runs `model` in many orders. A thread that nobody wakes, or one that waits for ever, is a failure.
pub fn in_many_orders(model: impl Fn() + Clone + Send + Sync + 'static) {
    let mut config = Config::new();
    // It reminds of the weaker orders of memory, each time.
    config.silence_warnings = true;
    config.max_steps = shuttle::MaxSteps::FailAfter(100_000);
    Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(model.clone());
    Runner::new(PctScheduler::new(STOPS, ORDERS), config).run(model);
}
