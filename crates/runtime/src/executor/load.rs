//! Makes an executable of a plan: packs its weights, places its buffers, and binds each step to a kernel.

use std::sync::Arc;

use super::arena::{self, Life};
use super::bounds::{beyond, within};
use super::{Call, Executable, Kept, Key, Packs, Step, Stored};
use crate::allowance::Allowance;
use crate::error::{Context, unsupported};
use crate::kernels::{
    Convolution, Copy, Epilogue, Form, Format, Group, Isa, Matmul, Microkernel, Packed, Parallel, Pointwise,
    Values, View, Workers,
};
use crate::panics::in_flowturbo;
use crate::plan::{self, Address, Constant, Lookup, Matrix, Numbers, Operation, Place, Plan};
use crate::precision::Precision;
use crate::weights::{Table, Weights};
use crate::{Result, memory};

/// What a plan is loaded with.
pub struct Setting<'a> {
    pub isa: Isa,
    pub parallel: &'a Arc<dyn Parallel>,
    pub packs: &'a Packs,
    /// The network's file, by whose name its packed weights are shared.
    pub file: &'a str,
    pub weights: &'a Arc<Weights>,
    pub allowance: &'a Allowance,
    pub precision: Precision,
    /// Gives the same bits on every processor.
    pub deterministic: bool,
    /// Leaves the weights in their files.
    pub hollow: bool,
    /// Fetches the first weights of each product while the one before is still at work.
    pub ahead: bool,
}

/// A product's weights, and where they can be read again; or the table that a step looks up.
enum Weight {
    Packed(Arc<Packed>, Option<Stored>),
    /// A convolution's, in another form than a plain product's.
    Formed(Form, Arc<Packed>),
    Table(Arc<Table>),
}

impl Executable {
    /// Loads `plan` for the processor and the threads of `setting`.
    ///
    /// # Errors
    /// `NonFinite`, `Io`: of the weights. `LimitExceeded`, `Cancelled`: by the allowance. `OutOfMemory`.
    pub fn load(plan: Plan, setting: &Setting) -> Result<Self> {
        let weights = pack(&plan.steps, setting)?;
        let mut lives = lives(&plan)?;
        let Plan { mut buffers, constants, inputs, given, output, steps } = plan;
        let last = steps.len();
        // Room for the left side of small numbers, and for a Strassen level, for products that it makes faster: which
        // those are depends on how weights are packed.
        let mut spares = memory::filled(last, None)?;
        for (i, (step, weight)) in steps.iter().zip(&weights).enumerate() {
            let (Operation::Matmul(product), Some(Weight::Packed(packed, _))) = (&step.operation, weight)
            else {
                continue;
            };
            let len = Matmul::room(packed, product.a_stride, &product.segments, &product.groups);
            if len > 0 {
                spares[i] = Some(lives.len());
                memory::push(&mut lives, Life { len, first: i, last: i })?;
                memory::push(&mut buffers, len)?;
            }
        }
        let (offsets, arena) = arena::place(&lives, setting.allowance)?;

        let packed = |weight: &Weight| match weight {
            Weight::Packed(packed, _) | Weight::Formed(_, packed) => Some(Arc::clone(packed)),
            Weight::Table(_) => None,
        };
        let following: Vec<_> = weights.iter().flatten().filter_map(packed).collect();
        let mut following = following.iter().cycle().skip(1);
        let Setting { isa, precision, .. } = *setting;
        let placed = Placed { buffers: &buffers, offsets: &offsets, arena, isa, precision };
        let mut bound = Vec::new();
        memory::reserve(&mut bound, last)?;
        for ((step, weight), spare) in steps.into_iter().zip(weights).zip(spares) {
            let name = Arc::clone(&step.name);
            let mut step =
                in_flowturbo(|| placed.bind(step, weight, spare)).at(|| format!("node '{name}'"))?;
            if let Call::Matmul(_) | Call::Convolution(_) = &step.call
                && let Some(next) = following.next()
                && let (true, Call::Matmul(product)) = (setting.ahead, &mut step.call)
            {
                product.followed_by(Arc::clone(next));
            }
            bound.push(step);
        }
        let whole = |buffer: usize| (offsets[buffer], buffers[buffer]);
        let places = constants.into_iter().map(|Constant { buffer, floats }| (offsets[buffer], floats));
        let mut constants = Vec::new();
        for constant in places {
            memory::push(&mut constants, constant)?;
        }
        Ok(Self {
            steps: bound,
            isa: setting.isa,
            parallel: Arc::clone(setting.parallel),
            arena,
            constants,
            inputs: inputs.into_iter().map(|buffer| buffer.map(whole)).collect(),
            output: whole(output),
            given: given.map(whole),
        })
    }
}

/// The weights of each step that has any.
fn pack(steps: &[plan::Step], setting: &Setting) -> Result<Vec<Option<Weight>>> {
    let workers = &mut Workers::new(setting.isa, setting.parallel.as_ref(), &mut []);
    let mut weights = Vec::new();
    memory::reserve(&mut weights, steps.len())?;
    // The last weight as its file has it: memory for the next one.
    let mut bytes = Vec::new();
    let formats = setting.precision.formats(
        steps,
        setting.weights,
        Precision::available(setting.isa, setting.deterministic),
    );
    for (step, format) in steps.iter().zip(formats) {
        setting.allowance.check()?;
        let weight = match (&step.operation, format) {
            (Operation::Matmul(product), Some(format)) => {
                // What computes conditions runs rarely, and its weights come and go.
                let packed = in_flowturbo(|| match product.form().filter(|_| setting.ahead) {
                    Some(form) => formed(form, &product.weights, format, setting, &mut bytes, workers),
                    None => packed(&product.weights, format, setting, &mut bytes, workers),
                });
                Some(packed.at(|| format!("node '{}'", step.name))?)
            }
            (Operation::Lookup(lookup), _) => {
                let numbers = lookup.rows.saturating_mul(lookup.width);
                let table = setting.weights.table(lookup.weight, numbers);
                Some(Weight::Table(Arc::new(table.at(|| format!("node '{}'", step.name))?)))
            }
            _ => None,
        };
        weights.push(weight);
    }
    Ok(weights)
}

fn packed(
    Matrix { layout, numbers }: &Matrix,
    format: Format,
    setting: &Setting,
    bytes: &mut Vec<u8>,
    workers: &mut Workers,
) -> Result<Weight> {
    let kernel = Microkernel::of(setting.isa, format)
        .ok_or_else(|| unsupported(format!("no kernel of {} multiplies {format}", setting.isa)))?;
    match numbers {
        Numbers::Here(floats) => {
            Ok(Weight::Packed(Arc::new(layout.pack(kernel, Values::F32(floats), workers)?), None))
        }
        Numbers::Weight(index) => {
            let weights = Arc::clone(setting.weights);
            let stored = Stored { weights, index: *index, layout: *layout, kernel };
            let packed = match setting.hollow {
                true => Arc::new(layout.hollow(kernel)),
                false => setting.packs.get(setting.file, &stored, || stored.pack(bytes, workers))?,
            };
            Ok(Weight::Packed(packed, Some(stored)))
        }
    }
}

/// The weights of a convolution in `form`, unless they are beyond all numbers in it.
fn formed(
    form: Form,
    matrix: &Matrix,
    format: Format,
    setting: &Setting,
    bytes: &mut Vec<u8>,
    workers: &mut Workers,
) -> Result<Weight> {
    let index = match matrix.numbers {
        Numbers::Weight(index) => Some(index),
        Numbers::Here(_) => None,
    };
    let (file, layout, kept) = (setting.file.to_owned(), matrix.layout, Kept::Formed(form));
    let key = index.map(|index| Key { file, index, layout, kept });
    if let Some(packed) = key.as_ref().and_then(|key| setting.packs.held(key)) {
        return Ok(Weight::Formed(form, packed));
    }
    // Of floats, whatever the product would be computed in: it takes fewer multiplications than small numbers save.
    let stored = index.and_then(|index| setting.weights.packed_as(index)).unwrap_or(Format::F32);
    let Weight::Packed(plain, _) = packed(matrix, stored, setting, bytes, workers)? else {
        return packed(matrix, format, setting, bytes, workers);
    };
    let plain = if stored == Format::F16 { Arc::new(plain.widened()?) } else { plain };
    let Some(formed) = form.weights(&plain, workers)?.map(Arc::new) else {
        return packed(matrix, format, setting, bytes, workers);
    };
    if let Some(key) = key {
        setting.packs.hold(key, &formed);
    }
    Ok(Weight::Formed(form, formed))
}

/// From which step to which each buffer is needed.
pub(super) fn lives(plan: &Plan) -> Result<Vec<Life>> {
    let Plan { buffers, constants, inputs, given, output, steps } = plan;
    let last = steps.len();
    let unused = buffers.iter().map(|&len| Life { len, first: last, last: 0 });
    let mut lives = memory::collected(buffers.len(), unused)?;
    for (i, step) in steps.iter().enumerate() {
        step.operation.addresses(&mut |address| {
            let life = &mut lives[address.buffer];
            (life.first, life.last) = (life.first.min(i), life.last.max(i));
        });
    }
    for constant in constants {
        (lives[constant.buffer].first, lives[constant.buffer].last) = (0, last);
    }
    inputs.iter().flatten().chain(given).for_each(|&buffer| lives[buffer].first = 0);
    lives[*output].last = last;
    Ok(lives)
}

/// Buffers with their places in an arena.
pub(super) struct Placed<'a> {
    pub(super) buffers: &'a [usize],
    pub(super) offsets: &'a [usize],
    /// Floats of the arena.
    pub(super) arena: usize,
    pub(super) isa: Isa,
    pub(super) precision: Precision,
}

impl Placed<'_> {
    /// Where in the arena an address is.
    ///
    /// # Panics
    /// If it lies beyond its buffer.
    pub(super) fn at(&self, Address { buffer, offset }: Address) -> usize {
        assert!(offset <= self.buffers[buffer], "its plan reaches beyond its own memory");
        self.offsets[buffer] + offset
    }

    pub(super) fn view(&self, place: &Place) -> View {
        View::new(self.at(place.address()), &place.strides)
    }

    /// Binds a step to its kernel, having held the kernel to the buffers that the step names.
    fn bind(&self, step: plan::Step, weight: Option<Weight>, spare: Option<usize>) -> Result<Step> {
        let plan::Step { name, operation } = step;
        let (mut own, mut touches) = (Vec::new(), 0);
        let mut name_buffer = |buffer: usize| {
            own.push(self.offsets[buffer]..self.offsets[buffer] + self.buffers[buffer]);
            touches += self.buffers[buffer];
        };
        operation.addresses(&mut |address| name_buffer(address.buffer));
        spare.into_iter().for_each(&mut name_buffer);
        let (kind, flops, out) = (operation.kind(), operation.flops(), operation.out().buffer);
        let stored = match &weight {
            Some(Weight::Packed(_, stored)) => stored.clone(),
            _ => None,
        };
        let call = self.call(&operation, weight, spare);
        within(&call, &own)?;
        call.check(self.arena);
        let writes = (self.offsets[out], self.buffers[out]);
        Ok(Step { call, kind, name, flops, touches, writes, stored })
    }

    /// Holds an operation, whose weights are elsewhere, to the buffers that it names, as [`bind`](Self::bind) does.
    ///
    /// # Errors
    /// `Runtime`. It may panic too, where a kernel would refuse to run.
    pub(super) fn hold(&self, operation: &Operation) -> Result<()> {
        let mut own = Vec::new();
        operation.addresses(&mut |Address { buffer, .. }| {
            own.push(self.offsets[buffer]..self.offsets[buffer] + self.buffers[buffer]);
        });
        let weight = match operation {
            Operation::Lookup(lookup) => {
                let Lookup { out, count, width, .. } = lookup.relocate(&mut |address| self.at(address));
                let end = count.checked_mul(width).and_then(|len| out.checked_add(len));
                let held = end.is_some_and(|end| own.iter().any(|own| own.start <= out && end <= own.end));
                return if held { Ok(()) } else { Err(beyond()) };
            }
            Operation::Matmul(product) => {
                let hollow = product.weights.layout.hollow(Microkernel::exact(self.isa));
                Some(Weight::Packed(Arc::new(hollow), None))
            }
            _ => None,
        };
        let call = self.call(operation, weight, None);
        within(&call, &own)?;
        call.check(self.arena);
        Ok(())
    }

    fn call(&self, operation: &Operation, weight: Option<Weight>, spare: Option<usize>) -> Call {
        let at = &mut |address| self.at(address);
        match operation {
            Operation::Matmul(product) => match weight {
                Some(Weight::Packed(weights, _)) => {
                    Call::Matmul(Box::new(self.product(product, weights, spare)))
                }
                Some(Weight::Formed(form, weights)) => {
                    Call::Convolution(Box::new(self.convolution(product, form, weights)))
                }
                _ => panic!("a product has weights"),
            },
            Operation::Norm(norm) => Call::Norm(norm.relocate(at)),
            Operation::Attention(attention) => {
                let format = self.precision.of_attention(attention, self.isa);
                Call::Attention(attention.relocate(at), format)
            }
            Operation::GroupNorm(norm) => Call::GroupNorm(norm.relocate(at)),
            Operation::Stage(stage) => Call::Stage(stage.relocate(at)),
            Operation::Copy { from, to } => Call::Copy(Copy::new(&from.dims, self.view(from), self.view(to))),
            Operation::Pointwise { inputs, out, program } => {
                let inputs: Vec<View> = inputs.iter().map(|place| self.view(place)).collect();
                Call::Pointwise(Pointwise::new(&out.dims, &inputs, self.view(out), program))
            }
            Operation::Reduce(reduce) => Call::Reduce(reduce.relocate(at)),
            Operation::Softmax(softmax) => Call::Softmax(softmax.relocate(at)),
            Operation::Gather(gather) => Call::Gather(gather.relocate(at)),
            Operation::MaskedAttention(masked) => Call::MaskedAttention(masked.relocate(at)),
            Operation::Lookup(lookup) => {
                let Some(Weight::Table(table)) = weight else { panic!("a lookup has a table") };
                Call::Lookup(lookup.relocate(at), table)
            }
            Operation::Integers(integers) => Call::Integers(integers.relocate(at)),
            Operation::BatchMatmul(products) => Call::BatchMatmul(products.relocate(at)),
            Operation::Foreign(foreign) => Call::Foreign(foreign.relocate(at)),
        }
    }

    fn product(&self, product: &plan::Matmul, weights: Arc<Packed>, spare: Option<usize>) -> Matmul {
        let (groups, epilogue) = self.rows(product);
        let spare = spare.map(|buffer| self.offsets[buffer]);
        let plan::Matmul { a_stride, segments, out_stride, .. } = product;
        Matmul::new(weights, *a_stride, segments, *out_stride, &groups, &epilogue, spare)
    }

    fn convolution(&self, product: &plan::Matmul, form: Form, weights: Arc<Packed>) -> Convolution {
        let (groups, epilogue) = self.rows(product);
        let plain = product.weights.layout.hollow(weights.kernel());
        let plan::Matmul { a_stride, segments, out_stride, .. } = product;
        Convolution::new((form, weights), plain, *a_stride, segments, *out_stride, &groups, &epilogue)
    }

    /// The rows of a product and its epilogue, with their places.
    pub(super) fn rows(&self, product: &plan::Matmul) -> (Vec<Group>, Vec<Epilogue>) {
        let further = |from: Address, by: usize| self.at(Address { offset: from.offset + by, ..from });
        let place = |group: &Group| Group {
            a: further(product.a, group.a),
            c: further(product.out, group.c),
            ..*group
        };
        let steps = product.epilogue.iter().map(|step| step.relocate(&mut |address| self.at(address)));
        (product.groups.iter().map(place).collect(), steps.collect())
    }
}
