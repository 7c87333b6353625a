//! A plan loaded for this processor: weights packed, every buffer with its place in one arena.
//!
//! ```text
//! Plan ──arena──▶ an offset for each buffer ──load──▶ Executable: kernels with absolute places, packed weights
//!                                                         └──▶ Memory: the arena and scratch of one run at a time
//! ```

mod arena;
mod bounds;
mod call;
mod conditions;
mod load;
mod packs;
mod placed;

use std::fmt::Write;
use std::sync::Arc;
use std::task::Poll;

use crate::backend::{Fallback, Footprint, Input, Pace};
use crate::error::{Context, runtime};
use crate::kernels::{Floats, Isa, LINE, Microkernel, Parallel, Workers};
use crate::{CancelToken, Result};
pub use call::Call;
pub use conditions::{Conditions, Ports, ROWS, ports};
pub use load::Setting;
use packs::{Kept, Key};
pub use packs::{Packs, Stored, read};
pub use placed::PlacedPlan;

/// A plan's steps as kernels, and what they run on.
pub struct Executable {
    pub steps: Vec<Step>,
    isa: Isa,
    parallel: Arc<dyn Parallel>,
    /// Floats of the arena.
    arena: usize,
    /// What the arena holds from the start: offset and floats.
    constants: Vec<(usize, Vec<f32>)>,
    /// For each input: its offset in the arena and its floats, if it is one of floats.
    inputs: Vec<Option<(usize, usize)>>,
    output: (usize, usize),
    /// Where the row of conditions goes, for each image: its offset and all floats.
    given: Option<(usize, usize)>,
}

/// A kernel, and what is told of it.
pub struct Step {
    pub call: Call,
    kind: &'static str,
    name: Arc<str>,
    /// Multiplications and additions.
    flops: u64,
    /// Floats of the buffers that it reads and writes; weights are counted elsewhere.
    touches: usize,
    /// Where it writes: offset and floats.
    writes: (usize, usize),
    /// Where a product's weights can be read again, if they are in a file.
    pub stored: Option<Stored>,
}

/// All memory that one run at a time needs.
pub struct Memory {
    arena: Floats,
    scratch: Floats,
    /// The step that a run which paused goes on with; 0 for a new run.
    next: usize,
}

impl Memory {
    /// No run is under way.
    pub fn is_fresh(&self) -> bool {
        self.next == 0
    }

    /// Forgets a run that is under way.
    pub fn abandon(&mut self) {
        self.next = 0;
    }
}

/// The most inputs that a network has.
const INPUTS: usize = 5;

impl Executable {
    /// The same, run on other threads.
    pub fn on(self, parallel: &Arc<dyn Parallel>) -> Self {
        Self { parallel: Arc::clone(parallel), ..self }
    }

    /// # Errors
    /// `OutOfMemory`.
    pub fn memory(&self) -> Result<Memory> {
        let mut arena = Floats::on_large_pages(self.arena)?;
        for (offset, floats) in &self.constants {
            arena[*offset..*offset + floats.len()].copy_from_slice(floats);
        }
        let mut scratch = Floats::on_large_pages(self.scratch())?;
        // Whichever lanes come to work later, their pages are there.
        scratch.fill(0.0);
        Ok(Memory { arena, scratch, next: 0 })
    }

    /// Floats of scratch memory, of all lanes.
    fn scratch(&self) -> usize {
        let most = self.steps.iter().map(|step| step.call.scratch()).max().unwrap_or(0);
        most.next_multiple_of(LINE) * self.parallel.lanes()
    }

    /// Bytes of weights, and of the memory of one run at a time.
    pub fn footprint(&self) -> Footprint {
        let instance = size_of::<f32>() * (self.arena + self.scratch());
        Footprint { weights: self.weights(), instance, passing: 0 }
    }

    /// Where the rows of conditions go, image by image.
    pub fn given<'a>(&self, memory: &'a mut Memory) -> &'a mut [f32] {
        let (offset, len) = self.given.unwrap_or((0, 0));
        &mut memory.arena[offset..offset + len]
    }

    /// Runs all steps, or those that there is time for, at least one; gives the output.
    pub fn run<'a>(&self, memory: &'a mut Memory, inputs: &[Input], pace: Pace) -> Poll<Result<&'a [f32]>> {
        let begun = std::mem::take(&mut memory.next);
        if begun == 0 {
            self.enter(memory, inputs)?;
        }
        let integers = integers(inputs);
        let Memory { arena, scratch, next } = &mut *memory;
        let mut workers = Workers::new(self.isa, self.parallel.as_ref(), scratch);
        for (i, step) in self.steps.iter().enumerate().skip(begun) {
            if i > begun && pace.is_over() {
                *next = i;
                return Poll::Pending;
            }
            pace.check()?;
            step.call.run(&mut workers, arena, &integers).at(|| step.name.to_string())?;
        }
        Poll::Ready(Ok(self.output(memory)))
    }

    /// As [`run`](Self::run), reading the weights that are not there before each step; afterwards they are kept
    /// or not.
    pub fn run_reading<'a>(
        &mut self,
        memory: &'a mut Memory,
        inputs: &[Input],
        keep: bool,
        cancel: &CancelToken,
    ) -> Result<&'a [f32]> {
        self.enter(memory, inputs)?;
        let integers = integers(inputs);
        let Memory { arena, scratch, .. } = &mut *memory;
        let mut workers = Workers::new(self.isa, self.parallel.as_ref(), scratch);
        let mut buffer = Vec::new();
        for step in &mut self.steps {
            cancel.check()?;
            step.fill(&mut buffer, &mut workers)?;
            let outcome = step.call.run(&mut workers, arena, &integers);
            if !keep {
                step.release();
            }
            outcome.at(|| step.name.to_string())?;
        }
        Ok(self.output(memory))
    }

    /// Gives up the weights that can be read again.
    pub fn release(&mut self) {
        self.steps.iter_mut().for_each(Step::release);
    }

    /// Takes the inputs of floats to the arena.
    fn enter(&self, memory: &mut Memory, inputs: &[Input]) -> Result<()> {
        for (i, (input, place)) in inputs.iter().zip(&self.inputs).enumerate() {
            match (input, place) {
                (Input::F32(values), Some((offset, len))) if values.len() == *len => {
                    memory.arena[*offset..*offset + *len].copy_from_slice(values);
                }
                // Integers, and an input that the network never looks at.
                (_, None) => {}
                _ => return Err(runtime(format!("input {i} has another shape than planned"))),
            }
        }
        Ok(())
    }

    fn output<'a>(&self, memory: &'a Memory) -> &'a [f32] {
        let (offset, len) = self.output;
        &memory.arena[offset..offset + len]
    }

    /// Bytes of packed weights at the moment.
    fn weights(&self) -> usize {
        self.steps.iter().map(Step::weights).sum()
    }

    /// The fewest rows of the tables that are looked up by the integers of `input`; none without any.
    pub fn rows(&self, input: usize) -> Option<usize> {
        self.steps.iter().filter_map(|step| step.call.rows(input)).min()
    }

    /// The operations that tract runs.
    pub fn fallbacks(&self) -> impl Iterator<Item = Fallback> {
        self.steps.iter().filter_map(|step| {
            let operation = step.call.foreign()?.to_owned();
            Some(Fallback::Operation { operation, node: step.name.to_string() })
        })
    }

    pub fn describe(&self) -> String {
        let constant = self.constants.iter().map(|(_, floats)| floats.len()).sum::<usize>();
        let mut text = format!(
            "{} steps for {}, {} of packed weights, {} of arena, {} of it constant\n",
            self.steps.len(),
            self.isa,
            mebibytes(self.weights()),
            mebibytes(4 * self.arena),
            mebibytes(4 * constant),
        );
        for (i, step) in self.steps.iter().enumerate() {
            let (offset, len) = step.writes;
            let (mega, end) = (step.flops as f64 / 1e6, offset + len);
            let kibibytes = (4 * step.touches + step.weights()) >> 10;
            let place = format!("{offset:>9}..{end:<9}");
            let by = match &step.call {
                Call::Matmul(product) => Some(product.weights().kernel().to_string()),
                Call::Convolution(convolution) => Some(convolution.form().name().to_owned()),
                Call::Attention(_, format) => Microkernel::of(self.isa, *format).map(Microkernel::to_string),
                call => call.foreign().map(str::to_owned),
            };
            let (kind, name) = (step.kind, &step.name);
            let by = by.map_or(String::new(), |by| format!(" ({by})"));
            let _ =
                writeln!(text, "{i:4} {kind:12} {mega:10.2} MFLOP {kibibytes:>8} KiB  {place} {name}{by}");
        }
        text
    }
}

/// The inputs of integers, each at its place.
fn integers<'a>(inputs: &[Input<'a>]) -> [&'a [i64]; INPUTS] {
    let mut integers: [&[i64]; INPUTS] = [&[]; INPUTS];
    for (slot, input) in integers.iter_mut().zip(inputs) {
        if let Input::I64(values) = input {
            *slot = values;
        }
    }
    integers
}

impl Step {
    /// Bytes of packed weights at the moment.
    fn weights(&self) -> usize {
        match &self.call {
            Call::Matmul(product) => product.weights().bytes(),
            Call::Convolution(convolution) => convolution.weights().bytes(),
            Call::Lookup(_, table) => table.bytes(),
            _ => 0,
        }
    }

    /// Reads the step's weights if they are not there.
    fn fill(&mut self, buffer: &mut Vec<u8>, workers: &mut Workers) -> Result<()> {
        if let (Call::Matmul(product), Some(stored)) = (&mut self.call, &self.stored)
            && product.weights().is_hollow()
        {
            product.set_weights(Arc::new(stored.pack(buffer, workers)?));
        }
        Ok(())
    }

    /// Gives the step's weights up if they can be read again.
    fn release(&mut self) {
        if let (Call::Matmul(product), Some(stored)) = (&mut self.call, &self.stored) {
            product.set_weights(Arc::new(stored.layout.hollow(stored.kernel)));
        }
    }
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
