//! Makes launches of a plan: weights packed and uploaded, tables uploaded, each step's arguments with absolute places.

use std::collections::HashMap;
use std::mem::offset_of;
use std::sync::{Arc, Mutex, Weak};

use flowturbo_runtime::engine::Network;
use flowturbo_runtime::error::{Context, unsupported};
use flowturbo_runtime::executor::PlacedPlan;
use flowturbo_runtime::kernels::{self, Floats, LINE, Parallel, Source, Values};
use flowturbo_runtime::lock::lock;
use flowturbo_runtime::plan::{self, Layout, Matrix, Numbers, Operation};
use flowturbo_runtime::weights::Weights;
use flowturbo_runtime::{Error, Result, memory};

use crate::arguments::{self, Plain, Program, bytes, counted};
use crate::binaries::Binary;
use crate::buffer::Buffer;
use crate::gpu::{Function, Gpu, Module};
use crate::kernel::{self, Number};
use crate::product::{Product, Shape, pack};
use crate::stream::Launch;

/// What all networks of a model share on a device.
pub struct Shared {
    pub device: Arc<Gpu>,
    module: Module,
    /// The kernels that were asked for.
    functions: Mutex<HashMap<&'static str, Function>>,
    /// What is packed at the moment: programs of several batch sizes hold the same.
    packs: Mutex<HashMap<Key, Weak<Buffer>>>,
}

/// A weight of a file as somebody holds it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    file: String,
    index: usize,
    layout: Option<Layout>,
    number: Number,
}

/// A plan as launches.
pub struct Executable {
    pub launches: Vec<Launch>,
    /// What is told of each step.
    pub told: Vec<String>,
    /// Floats of the arena, with the integers behind it.
    pub arena: usize,
    /// What the arena holds from the start: offset and floats.
    pub constants: Vec<(usize, Vec<f32>)>,
    /// For each input: where it goes.
    pub inputs: Vec<Option<Place>>,
    pub output: (usize, usize),
    /// Where the row of conditions goes, for each image: its offset and all floats.
    pub given: Option<(usize, usize)>,
    /// What the launches read beside the arena.
    pub weights: Vec<Arc<Buffer>>,
    pub shared: Arc<Shared>,
}

/// Where an input goes in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Floats {
        offset: usize,
        count: usize,
    },
    /// `rows` are those of the smallest table that is looked up by them, if any is.
    Integers {
        offset: usize,
        count: usize,
        rows: Option<usize>,
    },
}

impl Shared {
    pub fn new(device: &Arc<Gpu>, binaries: &[&Binary]) -> Result<Self> {
        Ok(Self {
            device: Arc::clone(device),
            module: Module::new(device, binaries)?,
            functions: Mutex::default(),
            packs: Mutex::default(),
        })
    }

    fn function(&self, name: &'static str) -> Result<Function> {
        if let Some(function) = lock(&self.functions).get(name) {
            return Ok(*function);
        }
        let function = self.module.function(name)?;
        lock(&self.functions).insert(name, function);
        Ok(function)
    }

    /// What `key` names, made by `make` if nobody holds it yet.
    fn held(&self, key: Key, make: impl FnOnce() -> Result<Buffer>) -> Result<Arc<Buffer>> {
        if let Some(held) = lock(&self.packs).get(&key).and_then(Weak::upgrade) {
            return Ok(held);
        }
        // Not locked meanwhile; of a rare double one goes with its program.
        let made = Arc::new(make()?);
        let mut known = lock(&self.packs);
        known.retain(|_, buffer| buffer.strong_count() > 0);
        known.insert(key, Arc::downgrade(&made));
        Ok(made)
    }
}

/// What a network multiplies, beside its first and last product and what else is exact.
struct Setting<'a> {
    number: Number,
    file: &'a str,
    weights: &'a Weights,
    /// What packs them.
    parallel: &'a dyn Parallel,
}

impl Executable {
    /// Loads `network`'s plan; weights are packed on the threads of `parallel`.
    ///
    /// # Errors
    /// `Unsupported`: names the node that has no kernel. `OutOfMemory`: of the device too. `NonFinite`, `Io`: of the
    /// weights. `LimitExceeded`, `Cancelled`: by the allowance. `Runtime`: the device fails.
    pub fn load(
        shared: &Arc<Shared>,
        network: Network,
        number: Number,
        parallel: &dyn Parallel,
    ) -> Result<Self> {
        let Network { file, plan, weights, allowance, .. } = network;
        let setting = Setting { number, file, weights, parallel };
        let plan = PlacedPlan::new(plan, allowance)?;
        // Before anything is packed.
        if let Some(step) = plan.steps.iter().find(|step| matches!(step.operation, Operation::BatchMatmul(_)))
        {
            let error = unsupported("has no kernel on a GPU (a product of two activations): --device cpu");
            return Err(error.at(format!("node '{}'", step.name)));
        }
        let products =
            plan.steps.iter().filter(|step| matches!(step.operation, Operation::Matmul(_))).count();
        let mut loading = Loading {
            shared,
            setting,
            plan: &plan,
            products,
            product: 0,
            inputs: plan.inputs.iter().map(floats).collect(),
            arena: plan.arena.next_multiple_of(LINE),
            launches: Vec::new(),
            tables: Vec::new(),
            patches: Vec::new(),
            weights: Vec::new(),
            room: Room { file: Vec::new(), panels: Floats::none() },
        };
        let mut told = Vec::new();
        for step in &plan.steps {
            allowance.check()?;
            let before = loading.launches.len();
            loading.step(&step.operation).at(|| format!("node '{}'", step.name))?;
            let names: Vec<&str> = loading.launches[before..].iter().map(|(kernel, _)| kernel.name).collect();
            let mega = step.operation.flops() as f64 / 1e6;
            let (kind, names) = (step.operation.kind(), names.join(", "));
            told.push(format!("{kind:12} {mega:10.2} MFLOP  {} ({names})", step.name));
        }
        allowance.arena(Some(loading.arena))?;
        let Loading { inputs, arena, mut launches, tables, patches, mut weights, .. } = loading;
        if !tables.is_empty() {
            let buffer = Buffer::of(&shared.device, &tables)?;
            for (launch, word) in patches {
                launches[launch].1.arguments[word] += buffer.at;
            }
            weights.push(Arc::new(buffer));
        }
        let launches = launches.into_iter().map(|(_, launch)| launch).collect();
        let PlacedPlan { constants, output, given, .. } = plan;
        let shared = Arc::clone(shared);
        Ok(Self { launches, told, arena, constants, inputs, output, given, weights, shared })
    }

    /// Bytes of weights and tables.
    pub fn bytes(&self) -> usize {
        self.weights.iter().map(|buffer| buffer.bytes).sum()
    }
}

fn floats(input: &Option<(usize, usize)>) -> Option<Place> {
    input.map(|(offset, count)| Place::Floats { offset, count })
}

/// A plan of which some steps are launches already.
struct Loading<'a> {
    shared: &'a Arc<Shared>,
    setting: Setting<'a>,
    plan: &'a PlacedPlan,
    /// Products in all, and of those that there were so far.
    products: usize,
    product: usize,
    inputs: Vec<Option<Place>>,
    arena: usize,
    launches: Vec<(&'static kernel::Kernel, Launch)>,
    /// Small tables, one after another, of which the place is known when all are there.
    tables: Vec<u8>,
    /// Words of arguments that want the tables' address added.
    patches: Vec<(usize, usize)>,
    weights: Vec<Arc<Buffer>>,
    room: Room,
}

/// Memory for one weight after another: as its file has it, and packed.
struct Room {
    file: Vec<u8>,
    panels: Floats,
}

impl Loading<'_> {
    fn step(&mut self, operation: &Operation) -> Result<()> {
        let (plan, number) = (self.plan, self.setting.number);
        let at = &mut |address| plan.at(address);
        match operation {
            Operation::Matmul(product) => self.matmul(product),
            Operation::Norm(norm) => {
                let norm = arguments::Norm::new(&norm.relocate(at))?;
                self.launch(norm.launch(), &norm)
            }
            Operation::Attention(attention) => {
                let attention = arguments::Attention::new(&attention.relocate(at), None)?;
                self.launch(attention.launch(number), &attention)
            }
            Operation::MaskedAttention(masked) => {
                let kernels::MaskedAttention { attention, bias, bias_stride } = masked.relocate(at);
                let attention = arguments::Attention::new(&attention, Some((bias, bias_stride)))?;
                self.launch(attention.launch(number), &attention)
            }
            Operation::GroupNorm(norm) => {
                let norm = arguments::GroupNorm::new(&norm.relocate(at))?;
                let mut launches = norm.launches().into_iter().flatten();
                launches.try_for_each(|launch| self.launch(Some(launch), &norm))
            }
            Operation::Stage(stage) => {
                let stage = arguments::Stage::new(&stage.relocate(at))?;
                self.launch(stage.launch(), &stage)
            }
            Operation::Copy { from, to } => {
                let copy = kernels::Copy::new(&from.dims, plan.view(from), plan.view(to));
                let copy = arguments::Copy::new(&copy)?;
                self.launch(copy.launch(), &copy)
            }
            Operation::Pointwise { inputs, out, program } => {
                let inputs: Vec<_> = inputs.iter().map(|place| plan.view(place)).collect();
                let pointwise = kernels::Pointwise::new(&out.dims, &inputs, plan.view(out), program);
                let Program { mut arguments, steps, inputs } = Program::new(&pointwise)?;
                arguments.steps = self.table(bytes(&steps), offset_of!(arguments::Pointwise, steps))?;
                arguments.inputs = self.table(bytes(&inputs), offset_of!(arguments::Pointwise, inputs))?;
                self.launch(arguments.launch(), &arguments)
            }
            Operation::Reduce(reduce) => {
                let reduce = arguments::Reduce::new(&reduce.relocate(at))?;
                self.launch(reduce.launch(), &reduce)
            }
            Operation::Softmax(softmax) => {
                let softmax = arguments::Softmax::new(&softmax.relocate(at))?;
                self.launch(softmax.launch(), &softmax)
            }
            Operation::Gather(gather) => {
                let plan::Gather { table, rows, width, input, count, out } = gather.relocate(at);
                let gather = arguments::Gather {
                    table: table as u64,
                    integers: self.integers(input, count, Some(rows))?,
                    out: out as u64,
                    rows: counted(rows)?,
                    width: counted(width)?,
                    count: counted(count)?,
                    reserved: 0,
                };
                self.launch(gather.launch(), &gather)
            }
            Operation::Lookup(lookup) => self.lookup(&lookup.relocate(at)),
            Operation::Integers(integers) => {
                let plan::Integers { input, count, out } = integers.relocate(at);
                let integers = self.integers(input, count, None)?;
                let integers =
                    arguments::Integers { integers, out: out as u64, count: counted(count)?, reserved: 0 };
                self.launch(integers.launch(), &integers)
            }
            Operation::BatchMatmul(_) | Operation::Foreign(_) => {
                Err(unsupported(format!("has no kernel on a GPU ({})", operation.kind())))
            }
        }
    }

    /// A launch, if there is anything to do.
    fn launch<T: Plain>(&mut self, launch: Option<kernel::Launch>, arguments: &T) -> Result<()> {
        let Some(launch) = launch else {
            self.patches.retain(|(launch, _)| *launch < self.launches.len());
            return Ok(());
        };
        let function = self.shared.function(launch.kernel.name)?;
        self.launches.push((launch.kernel, Launch::new(function, launch, arguments)));
        Ok(())
    }

    /// Puts a table where the next launch finds it by the argument at byte `field`; gives the place so far.
    fn table(&mut self, table: &[u8], field: usize) -> Result<u64> {
        let at = self.tables.len().next_multiple_of(16);
        memory::resize(&mut self.tables, at + table.len(), 0)?;
        self.tables[at..].copy_from_slice(table);
        self.patches.push((self.launches.len(), field / 8));
        Ok(at as u64)
    }

    /// Where the integers of an input lie, of which each is one of so many rows.
    fn integers(&mut self, input: usize, wanted: usize, of: Option<usize>) -> Result<u64> {
        let place = self.inputs.get_mut(input).ok_or_else(|| Error::bug("a plan has too few inputs"))?;
        match place {
            None => {
                let offset = self.arena;
                let end = wanted.checked_mul(2).and_then(|floats| offset.checked_add(floats));
                self.arena =
                    end.ok_or_else(|| Error::bug("a plan has too many integers"))?.next_multiple_of(LINE);
                *place = Some(Place::Integers { offset, count: wanted, rows: of });
                Ok(offset as u64)
            }
            Some(Place::Integers { offset, count, rows }) if *count == wanted => {
                *rows = [*rows, of].into_iter().flatten().min();
                Ok(*offset as u64)
            }
            _ => Err(Error::bug("a plan takes an input in two ways")),
        }
    }

    fn matmul(&mut self, product: &plan::Matmul) -> Result<()> {
        self.product += 1;
        let ends = self.product == 1 || self.product == self.products;
        let number = if ends { Number::F32 } else { self.setting.number };
        let plan::Matmul { weights: matrix, a_stride, segments, out_stride, .. } = product;
        let (groups, epilogue) = self.plan.rows(product);
        let [_, k, cols] = matrix.layout.sizes;
        let shape = Shape {
            groups: &groups,
            a_stride: *a_stride,
            segments,
            k,
            cols,
            c_stride: *out_stride,
            epilogue: &epilogue,
        };
        let Product { mut arguments, groups, segments, .. } = Product::new(shape)?;
        let weights = self.packed(matrix, number)?;
        arguments.weights = weights.at;
        self.weights.push(weights);
        arguments.groups = self.table(bytes(&groups), offset_of!(arguments::Matmul, groups))?;
        arguments.segments = self.table(bytes(&segments), offset_of!(arguments::Matmul, segments))?;
        self.launch(arguments.launch(number, self.shared.device.multiprocessors), &arguments)
    }

    /// A matrix on the device.
    fn packed(&mut self, Matrix { layout, numbers }: &Matrix, number: Number) -> Result<Arc<Buffer>> {
        let Self { setting: Setting { file, weights, parallel, .. }, room, .. } = self;
        let (device, Layout { offset, sizes, strides }) = (&self.shared.device, *layout);
        let ([segments, k, cols], [segment_stride, row_stride, col_stride]) = (sizes, strides);
        let Room { file: bytes_of_file, panels } = room;
        let upload = |values: Values, panels: &mut Floats| {
            let source = Source { values: values.from(offset), cols, segment_stride, row_stride, col_stride };
            Buffer::of(device, bytes(pack(number, segments, k, &source, *parallel, panels)?))
        };
        match numbers {
            Numbers::Here(floats) => Ok(Arc::new(upload(Values::F32(floats), panels)?)),
            Numbers::Weight(index) => {
                if let Some(format) = weights.packed_as(*index) {
                    return Err(unsupported(format!(
                        "the plan's weights are packed as {format} for processors; compile it with --target generic"
                    )));
                }
                let key = Key { file: (*file).to_owned(), index: *index, layout: Some(*layout), number };
                self.shared.held(key, || {
                    let weight = weights.read(*index, bytes_of_file)?;
                    upload(weight.values(bytes_of_file), panels)
                })
            }
        }
    }

    fn lookup(&mut self, lookup: &plan::Lookup) -> Result<()> {
        let plan::Lookup { weight, rows, width, input, count, out } = *lookup;
        let Setting { file, weights, .. } = self.setting;
        let table = weights.table(weight, rows.saturating_mul(width))?;
        let halves = matches!(table.values(), Values::F16Bytes(_));
        let number = if halves { Number::F16 } else { Number::F32 };
        let key = Key { file: file.to_owned(), index: weight, layout: None, number };
        let device = &self.shared.device;
        let buffer = self.shared.held(key, || match table.values() {
            Values::F16Bytes(bytes) => Buffer::of(device, bytes),
            values => {
                let mut floats = memory::filled(rows * width, 0f32)?;
                values.copy(0, &mut floats);
                Buffer::of(device, bytes(&floats))
            }
        })?;
        let lookup = arguments::Lookup {
            table: buffer.at,
            integers: self.integers(input, count, Some(rows))?,
            out: out as u64,
            rows: counted(rows)?,
            width: counted(width)?,
            count: counted(count)?,
            encoding: u32::from(halves),
        };
        self.weights.push(buffer);
        self.launch(lookup.launch(), &lookup)
    }
}
