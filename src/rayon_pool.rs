//! An application's rayon pool, lent to a model.

use std::sync::Arc;

use crate::kernels::Parallel;

/// A rayon pool as the threads of [`ModelOptions::parallel`](crate::ModelOptions::parallel) (feature `rayon`).
///
/// rayon allocates for each piece of work that it hands to a thread, so sampling allocates on such a pool, some hundred
/// small pieces for each network call. A model's own pool does not.
///
/// ```
/// # use std::sync::Arc;
/// # use flowturbo::{Bundle, Model, ModelOptions, RayonPool};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build()?);
/// let options = ModelOptions::default().with_parallel(Arc::new(RayonPool::new(pool)));
/// let model = Model::load(Bundle::open("models/textures.ftplan")?, &options)?;
/// assert_eq!(model.threads(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RayonPool(Arc<rayon::ThreadPool>);

impl RayonPool {
    /// As many lanes as `pool` has threads.
    pub fn new(pool: Arc<rayon::ThreadPool>) -> Self {
        Self(pool)
    }
}

impl Parallel for RayonPool {
    fn lanes(&self) -> usize {
        self.0.current_num_threads()
    }

    /// The caller is one of the lanes, whether it is a thread of the pool or not.
    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        self.0.in_place_scope(|scope| {
            (1..self.lanes()).for_each(|lane| scope.spawn(move |_| body(lane)));
            body(0);
        });
    }
}
