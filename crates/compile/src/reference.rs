//! Plain tract: its own optimiser, its own plan, its own kernels.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::{SimplePlan, eval};

use crate::allowance::Allowance;
use crate::backend::{Backend, Footprint, Input, Instance, Pace, Program};
use crate::bundle::{Bundle, Extent, Role};
use crate::contract::{Contract, Port};
use crate::error::{Context, runtime, unsupported};
use crate::graph::Graph;
use crate::net::Net;
use crate::panics::of_tract;
use crate::{CancelToken, Cost, Error, ErrorKind, Result};

/// The oracle: slow, trusted, and able to run whatever tract runs.
pub struct Reference {
    threads: usize,
    /// So many or none.
    strict: bool,
    /// Made when a first network is compiled: most models never need it.
    executor: OnceLock<Result<Executor>>,
}

impl Reference {
    /// One thread means tract's single-thread executor; more mean a rayon pool of this model's own, in builds
    /// with the feature `reference-threads`.
    pub fn new(threads: usize) -> Self {
        let threads = if cfg!(feature = "reference-threads") { threads } else { 1 };
        Self { threads, strict: true, executor: OnceLock::new() }
    }

    /// As [`new`](Self::new), but goes on with one thread if the system refuses others.
    pub fn up_to(threads: usize) -> Self {
        Self { strict: false, ..Self::new(threads) }
    }

    fn executor(&self) -> Result<Executor> {
        self.executor
            .get_or_init(|| match executor(self.threads) {
                Err(refused) if !self.strict => {
                    log::warn!("one thread instead of {}: {refused}", self.threads);
                    Ok(Executor::SingleThread)
                }
                made => made,
            })
            .clone()
    }
}

#[cfg(not(feature = "reference-threads"))]
fn executor(_: usize) -> Result<Executor> {
    Ok(Executor::SingleThread)
}

#[cfg(feature = "reference-threads")]
fn executor(threads: usize) -> Result<Executor> {
    if threads == 1 {
        return Ok(Executor::SingleThread);
    }
    let name = |i| format!("flowturbo-{i}");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
    let pool =
        pool.map_err(|refused| runtime(format!("the system refuses one of {threads} threads: {refused}")))?;
    Ok(Executor::MultiThread(Arc::new(pool)))
}

/// Runs `work` under `executor`, and gives the thread its former executor back even if `work` panics.
fn scoped<R>(executor: &Executor, work: impl FnOnce() -> TractResult<R>) -> TractResult<R> {
    // The scope restores on return only, so the panic is stopped inside of it.
    let outcome = multithread_tract_scope(executor.clone(), || catch_unwind(AssertUnwindSafe(work)));
    outcome.unwrap_or_else(|panic| Err(of_tract(panic.as_ref(), ErrorKind::Runtime).into()))
}

impl Reference {
    /// Plans `graph`.
    ///
    /// # Errors
    /// Name its file.
    pub fn compile(&self, graph: Graph) -> Result<Arc<dyn Program>> {
        let (file, contract) = (graph.file.clone(), graph.contract.clone());
        // Shapes that contradict one another are nobody's to run.
        match Net::import(&graph.model, contract.inputs.len(), &graph.allowance) {
            Err(error) if error.kind() != ErrorKind::Unsupported => return Err(error).at(|| file.clone()),
            _ => {}
        }
        let (model, executor) = (graph.materialise()?, self.executor()?);
        let plan = scoped(&executor, || SimplePlan::new(model.into_optimized()?))
            .map_err(|error| {
                own(&error).unwrap_or_else(|| unsupported(format!("tract cannot plan this graph: {error:#}")))
            })
            .at(|| file.clone())?;
        Ok(Arc::new(Planned { plan, contract, file, executor }))
    }
}

impl Backend for Reference {
    fn program(
        &self,
        bundle: &Bundle,
        role: Role,
        extent: Extent,
        allowance: &Allowance,
    ) -> Result<Arc<dyn Program>> {
        self.compile(Graph::import_within(bundle, role, extent, allowance)?)
    }

    fn cost(&self, bundle: &Bundle, role: Role, extent: Extent, allowance: &Allowance) -> Result<Cost> {
        Graph::import_within(bundle, role, extent, allowance)?.cost()
    }

    fn threads(&self) -> usize {
        self.threads
    }
}

struct Planned {
    plan: Arc<TypedSimplePlan>,
    contract: Contract,
    file: String,
    executor: Executor,
}

impl Program for Planned {
    fn describe(&self) -> String {
        format!("{} nodes, run by plain tract\n", self.plan.model().nodes().len())
    }

    fn instantiate(self: Arc<Self>, _: &CancelToken) -> Result<Box<dyn Instance>> {
        Ok(Box::new(PlannedInstance(self)))
    }

    /// The constants; what tract allocates for each run is not known beforehand.
    fn memory(&self) -> Footprint {
        let outputs = self.plan.model().nodes().iter().flat_map(|node| &node.outputs);
        let constants = outputs.filter_map(|output| output.fact.konst.as_ref());
        let weights = constants.map(|tensor| tensor.len() * tensor.datum_type().size_of()).sum();
        Footprint { weights, ..Footprint::default() }
    }
}

/// tract allocates its intermediates anew for each run, so there is no scratch to keep.
struct PlannedInstance(Arc<Planned>);

impl Instance for PlannedInstance {
    /// In one go: tract does not pause.
    fn advance(&mut self, inputs: &[Input], output: &mut [f32], pace: Pace) -> Poll<Result<()>> {
        let Planned { plan, contract, file, executor } = &*self.0;
        let tensor = |(input, port): (&Input, &Port)| -> TractResult<TValue> {
            let tensor = match input {
                Input::F32(data) => Tensor::from_shape(&port.shape, data),
                Input::I64(data) => Tensor::from_shape(&port.shape, data),
            };
            Ok(tensor?.into_tvalue())
        };
        let answer = scoped(executor, || {
            let tensors =
                inputs.iter().zip(&contract.inputs).map(tensor).collect::<TractResult<TVec<_>>>()?;
            plan.spawn()?.run_plan_with_eval(tensors, |context, state, node, inputs| {
                pace.check()?;
                eval(context, state, node, inputs)
            })
        });
        let answer = answer.map_err(|error| failed(&error)).at(|| file.clone())?;
        let view = answer.first().and_then(|tensor| tensor.as_plain_ram());
        let values = view.as_ref().and_then(|view| view.as_slice::<f32>().ok());
        match values {
            Some(values) if values.len() == output.len() => output.copy_from_slice(values),
            _ => {
                Err(runtime("the network's answer has another shape than planned")).at(|| file.clone())?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// An error of ours (a cancelled token, refused memory), which tract passes on unchanged.
fn own(error: &TractError) -> Option<Error> {
    error.downcast_ref().cloned()
}

/// The error of a run.
pub fn failed(error: &TractError) -> Error {
    own(error).unwrap_or_else(|| runtime(format!("{error:#}").replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use ndarray::{Array1, ArrayD};
    use ndarray_npy::NpzReader;
    #[cfg(feature = "reference-threads")]
    use tract_linalg::multithread::current_tract_executor;

    use super::*;

    /// One plain, unguided call of each network, as the official code computed it.
    #[test]
    fn single_calls_agree_with_the_official_networks() {
        let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/data/tiny-sit");
        let bundle = Bundle::open(data.join("bundle")).unwrap();
        let mut golden = NpzReader::new(File::open(data.join("golden.npz")).unwrap()).unwrap();
        let mut floats = |name: &str| -> Vec<f32> {
            let array: ArrayD<f32> = golden.by_name(name).unwrap();
            array.into_iter().collect()
        };
        let (x, v, t) = (floats("net_x"), floats("net_v"), floats("net_t"));
        let expected = [floats("net_predictor_out"), floats("net_refiner_out")];
        let y: Array1<i64> = golden.by_name("net_y").unwrap();
        let y = y.to_vec();
        let inputs = [
            vec![Input::F32(&x), Input::F32(&t), Input::I64(&y)],
            vec![Input::F32(&x), Input::F32(&v), Input::F32(&t), Input::I64(&y)],
        ];
        for ((role, inputs), expected) in
            [Role::Predictor, Role::Refiner].into_iter().zip(inputs).zip(expected)
        {
            let graph = Graph::import(&bundle, role, bundle.manifest().extent(y.len())).unwrap();
            let mut output = vec![0.0; expected.len()];
            let mut network =
                Reference::new(2).compile(graph).unwrap().instantiate(&CancelToken::new()).unwrap();
            network.run(&inputs, &mut output, &CancelToken::new()).unwrap();
            let error = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{role}: {error:.1e}");
            assert!(error < 1e-5, "{role}: {error}");
        }
    }

    #[cfg(feature = "reference-threads")]
    #[test]
    fn the_executor_is_restored_after_a_panic() {
        let ours = Reference::new(2).executor().unwrap();
        let inside = scoped(&ours, || Ok(matches!(current_tract_executor(), Executor::MultiThread(_))));
        assert!(inside.unwrap());
        let error = scoped(&ours, || -> TractResult<()> { panic!("boom") }).unwrap_err();
        assert!(error.to_string().contains("boom"));
        assert!(matches!(current_tract_executor(), Executor::SingleThread));
    }
}
