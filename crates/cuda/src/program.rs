//! Networks on a device: programs that sessions share, and instances that run one call at a time as a graph.

use std::fmt::Write;
use std::sync::Arc;
use std::task::Poll;

use flowturbo_runtime::backend::{Condition, Footprint, Input, Instance, Pace, Program};
use flowturbo_runtime::engine::{Network, Runner};
use flowturbo_runtime::error::{Context, runtime, unsupported};
use flowturbo_runtime::executor::Conditions;
use flowturbo_runtime::kernels::Parallel;
use flowturbo_runtime::{CancelToken, Precision, Result};

use crate::binaries::Binary;
use crate::buffer::{Buffer, Staging};
use crate::gpu::Gpu;
use crate::kernel::Number;
use crate::load::{Executable, Place, Shared};
use crate::stream::{Graph, Stream};

/// Runs the networks of a model on a device.
pub struct Cuda(Arc<Shared>);

impl Cuda {
    /// Loads the kernels that a model in `precision` wants.
    ///
    /// # Errors
    /// `Unsupported`: the device, or any, has no kernels for it; `deterministic`, which no device is. `OutOfMemory`.
    /// `Runtime`: the device fails.
    pub fn new(device: &Arc<Gpu>, precision: Precision, deterministic: bool) -> Result<Self> {
        if deterministic {
            return Err(unsupported(
                "deterministic: a CUDA device adds up in another order than processors do; take the cpu",
            ));
        }
        let (number, (major, minor)) = (number(precision)?, device.info.capability);
        if 10 * major + minor < number.since() {
            let (wanted, name) = (number.since(), &device.info.name);
            return Err(unsupported(format!(
                "precision: {precision} takes compute capability {}.{}, {name} has {major}.{minor}; take f32 or f16",
                wanted / 10,
                wanted % 10
            )));
        }
        Ok(Self(Arc::new(Shared::new(device, &Binary::of(major, minor)?)?)))
    }
}

/// What products and attention multiply.
fn number(precision: Precision) -> Result<Number> {
    match precision {
        Precision::F32 | Precision::F16Weights => Ok(Number::F32),
        Precision::Tf32 => Ok(Number::Tf32),
        Precision::F16 => Ok(Number::F16),
        Precision::Bf16 => Ok(Number::Bf16),
        other => Err(unsupported(format!(
            "precision: {other} is for the cpu; CUDA devices compute in f32, tf32, f16 or bf16"
        ))),
    }
}

impl Runner for Cuda {
    fn program(
        &self,
        network: Network,
        conditions: Option<Arc<Conditions>>,
        parallel: &dyn Parallel,
    ) -> Result<Arc<dyn Program>> {
        let (file, number) = (network.file.to_owned(), number(network.precision)?);
        let executable = Executable::load(&self.0, network, number, parallel)?;
        Ok(Arc::new(DeviceProgram { executable, conditions, file }))
    }
}

/// A network, loaded.
struct DeviceProgram {
    executable: Executable,
    /// What the processor computes once for each time, class and pooled context, if the network has such a part.
    conditions: Option<Arc<Conditions>>,
    file: String,
}

impl Program for DeviceProgram {
    fn describe(&self) -> String {
        let Executable { told, arena, shared, launches, .. } = &self.executable;
        let device = &shared.device;
        let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let mut text = format!(
            "{} launches on cuda:{} ({}), {:.1} MiB of weights, {:.1} MiB of arena\n",
            launches.len(),
            device.number,
            device.info.name,
            mebibytes(self.executable.bytes()),
            mebibytes(4 * arena),
        );
        for (i, step) in told.iter().enumerate() {
            let _ = writeln!(text, "{i:4} {step}");
        }
        if let Some(conditions) = &self.conditions {
            let _ = write!(text, "once for each time, class and pooled context, {}", conditions.describe());
        }
        text
    }

    fn rows(&self, input: usize) -> Option<usize> {
        match self.executable.inputs.get(input) {
            Some(Some(Place::Integers { rows, .. })) => *rows,
            _ => None,
        }
    }

    /// What is on the device too.
    fn memory(&self) -> Footprint {
        let conditions =
            self.conditions.as_ref().map_or(Footprint::default(), |conditions| conditions.footprint());
        let weights = self.executable.bytes() + conditions.weights;
        let instance = 4 * self.executable.arena + Staged::of(&self.executable).bytes;
        Footprint { weights, instance, passing: conditions.passing }
    }

    fn instantiate(self: Arc<Self>, _: &CancelToken) -> Result<Box<dyn Instance>> {
        let made = DeviceInstance::new(&self).at(|| self.file.clone())?;
        Ok(Box::new(made))
    }
}

/// Where inputs, rows of conditions and the output lie in the memory that the device copies from and to: bytes.
struct Staged {
    /// For each input that is looked at.
    inputs: Vec<Option<usize>>,
    given: usize,
    output: usize,
    bytes: usize,
}

/// Bytes between places: a line of the device's cache.
const BOUNDARY: usize = 128;

impl Staged {
    fn of(executable: &Executable) -> Self {
        let mut bytes = 0;
        let mut next = |len: usize| {
            let at = bytes;
            bytes += len.next_multiple_of(BOUNDARY);
            at
        };
        let size = |place: &Place| place.bytes();
        let inputs = executable.inputs.iter().map(|input| input.as_ref().map(size).map(&mut next)).collect();
        let given = next(executable.given.map_or(0, |(_, len)| 4 * len));
        let output = next(4 * executable.output.1);
        Self { inputs, given, output, bytes }
    }
}

impl Place {
    /// Floats from the arena's start, and bytes.
    fn offset(&self) -> usize {
        match *self {
            Self::Floats { offset, .. } | Self::Integers { offset, .. } => offset,
        }
    }

    fn bytes(&self) -> usize {
        match *self {
            Self::Floats { count, .. } => 4 * count,
            Self::Integers { count, .. } => 8 * count,
        }
    }
}

/// A program with its arena on the device, and the graph of one call: copies there, launches, copies back.
struct DeviceInstance {
    // What is used is dropped behind what uses it.
    graph: Graph,
    stream: Stream,
    _arena: Buffer,
    staging: Staging,
    staged: Staged,
    program: Arc<DeviceProgram>,
}

impl DeviceInstance {
    fn new(program: &Arc<DeviceProgram>) -> Result<Self> {
        let executable = &program.executable;
        let Executable { launches, arena, constants, inputs, output, given, shared, .. } = executable;
        let device = &shared.device;
        let arena = Buffer::new(device, 4 * arena)?;
        for (offset, floats) in constants {
            arena.write(4 * offset, crate::arguments::bytes(floats))?;
        }
        let staged = Staged::of(executable);
        let mut staging = Staging::new(device, staged.bytes)?;
        let stream = Stream::new(device)?;
        let graph = stream.capture(|stream| {
            for (place, at) in inputs.iter().zip(&staged.inputs) {
                if let (Some(place), Some(at)) = (place, at) {
                    stream.copy_in(&mut staging, *at, &arena, 4 * place.offset(), place.bytes())?;
                }
            }
            if let Some((offset, len)) = given {
                stream.copy_in(&mut staging, staged.given, &arena, 4 * offset, 4 * len)?;
            }
            launches.iter().try_for_each(|launch| stream.launch(launch, &arena))?;
            let (offset, len) = output;
            stream.copy_out(&arena, 4 * offset, &mut staging, staged.output, 4 * len)
        })?;
        Ok(Self { graph, stream, _arena: arena, staging, staged, program: Arc::clone(program) })
    }

    fn call(&mut self, inputs: &[Input], output: &mut [f32], cancel: &CancelToken) -> Result<()> {
        let DeviceProgram { executable, conditions, .. } = &*self.program;
        let Self { staging, staged, .. } = self;
        if let (Some(conditions), Some((_, len))) = (conditions, executable.given) {
            conditions.fill(inputs, staging.slice(staged.given, len), cancel)?;
        }
        for (i, (place, at)) in executable.inputs.iter().zip(&staged.inputs).enumerate() {
            let (Some(place), Some(at)) = (place, at) else { continue };
            match (inputs.get(i), place) {
                (Some(Input::F32(floats)), Place::Floats { count, .. }) if floats.len() == *count => {
                    staging.slice(*at, *count).copy_from_slice(floats);
                }
                (Some(Input::I64(integers)), Place::Integers { count, rows, .. })
                    if integers.len() == *count =>
                {
                    if let Some(rows) = rows {
                        within(integers, *rows)?;
                    }
                    staging.slice(*at, *count).copy_from_slice(integers);
                }
                _ => return Err(runtime(format!("input {i} has another shape than planned"))),
            }
        }
        if output.len() != executable.output.1 {
            return Err(runtime("the network's answer has another shape than planned"));
        }
        cancel.check()?;
        self.stream.run(&self.graph)?;
        output.copy_from_slice(staging.slice(staged.output, executable.output.1));
        Ok(())
    }
}

/// Holds integers to a table's rows; negative ones count from its end, as in ONNX.
fn within(integers: &[i64], rows: usize) -> Result<()> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    match integers.iter().enumerate().find(|(_, index)| !(-rows..rows).contains(index)) {
        Some((place, index)) => Err(runtime(format!("index {index} is outside of a table of {rows} rows")))
            .at(|| format!("row {place}")),
        None => Ok(()),
    }
}

impl Instance for DeviceInstance {
    fn conditions(&self) -> (usize, usize) {
        self.program.conditions.as_ref().map_or((0, 0), |conditions| conditions.room())
    }

    fn prepare(&mut self, wanted: &[Condition], contexts: &[f32], cancel: &CancelToken) -> Result<()> {
        match &self.program.conditions {
            Some(conditions) => conditions.prepare(wanted, contexts, cancel).at(|| self.program.file.clone()),
            None => Ok(()),
        }
    }

    /// The whole call at once: a graph has no place to pause at.
    fn advance(&mut self, inputs: &[Input], output: &mut [f32], pace: Pace) -> Poll<Result<()>> {
        let file = Arc::clone(&self.program);
        Poll::Ready(self.call(inputs, output, pace.cancel()).at(|| file.file.clone()))
    }
}
