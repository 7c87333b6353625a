//! Networks of the bundled model on the emulated device, held to the processor's.

use std::sync::Arc;

use flowturbo_cuda::{Cuda, Driver, Gpu};
use flowturbo_runtime::allowance::Allowance;
use flowturbo_runtime::backend::{Backend, Input, Instance, Pace, Program};
use flowturbo_runtime::contract::Contract;
use flowturbo_runtime::engine::Engine;
use flowturbo_runtime::ftplan::Planned;
use flowturbo_runtime::kernels::{Inline, Isa, Parallel};
use flowturbo_runtime::{
    Bundle, CancelToken, ElementType, Error, ErrorKind, Limits, PortRole, Precision, Result, Role, noise,
};

use super::driver::frees;
use super::fake::Fake;

fn bundle() -> Bundle {
    Bundle::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/textures.ftplan")).unwrap()
}

/// Images in a call of each network that the plan has.
const ROLES: [(Role, usize); 3] = [(Role::Predictor, 2), (Role::Refiner, 2), (Role::Decoder, 1)];

fn engine() -> Engine {
    Engine::new(Isa::available()[0], Arc::new(Inline))
}

fn backend(bundle: &Bundle, engine: Engine) -> Planned {
    Planned::new(bundle.plan().unwrap(), engine, false)
}

fn on(gpu: Result<Arc<Gpu>>, bundle: &Bundle, precision: Precision) -> Result<Planned> {
    let runner = Arc::new(Cuda::new(&gpu?, precision, false)?);
    Ok(backend(bundle, engine().with_runner(runner, precision)))
}

/// The inputs of a network, the same each time.
struct Given {
    floats: Vec<Vec<f32>>,
    integers: Vec<Vec<i64>>,
    types: Vec<ElementType>,
    output: usize,
}

impl Given {
    fn new(bundle: &Bundle, role: Role, batch: usize) -> Self {
        let extent = bundle.manifest().extent(batch);
        let contract = Contract::new(bundle.manifest(), role, extent, bundle.limits()).unwrap();
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        let (mut floats, mut integers, mut types) = (Vec::new(), Vec::new(), Vec::new());
        for (i, port) in contract.inputs.iter().enumerate() {
            let many = count(&port.shape);
            let drawn = noise(7 + i as u64, [1, 1, 1, many]).unwrap().into_raw_vec_and_offset().0;
            floats.push(if port.role == PortRole::Time { vec![0.3; many] } else { drawn });
            integers.push((0..many as i64).map(|class| class % 5).collect());
            types.push(port.element);
        }
        Self { floats, integers, types, output: count(&contract.output.shape) }
    }

    fn inputs(&self) -> Vec<Input<'_>> {
        let each = self.types.iter().zip(self.floats.iter().zip(&self.integers));
        each.map(|(kind, (floats, integers))| match kind {
            ElementType::I64 => Input::I64(integers),
            _ => Input::F32(floats),
        })
        .collect()
    }

    fn run(&self, instance: &mut dyn Instance) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.output];
        instance.run(&self.inputs(), &mut output, &CancelToken::new()).map(|()| output)
    }
}

fn program(backend: &Planned, bundle: &Bundle, role: Role, batch: usize) -> Result<Arc<dyn Program>> {
    let allowance = Allowance::new(bundle.limits(), &CancelToken::new());
    backend.program(bundle, role, bundle.manifest().extent(batch), &allowance)
}

fn instance(backend: &Planned, bundle: &Bundle, role: Role, batch: usize) -> Result<Box<dyn Instance>> {
    program(backend, bundle, role, batch)?.instantiate(&CancelToken::new())
}

/// The largest difference, infinite for NaN, as a part of the largest number.
fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    let difference = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    let most = theirs.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
    assert!(most > 0.0 && ours.len() == theirs.len(), "nothing to compare");
    ours.iter().zip(theirs).map(difference).fold(0.0, f32::max) / most
}

/// Each precision, how near it is, and which networks are asked in it: the large ones take their time in emulation.
const PRECISIONS: [(Precision, f32, &[Role]); 4] = [
    (Precision::F32, 1e-4, &[Role::Predictor, Role::Refiner, Role::Decoder]),
    (Precision::Tf32, 0.01, &[Role::Refiner]),
    (Precision::F16, 0.01, &[Role::Predictor, Role::Refiner]),
    (Precision::Bf16, 0.06, &[Role::Refiner]),
];

/// With `FLOWTURBO_GPU=1` on the first GPU of this machine.
#[test]
fn every_network_of_the_bundled_model_gives_what_the_processor_does() {
    let bundle = bundle();
    let fake = std::env::var_os("FLOWTURBO_GPU").is_none().then(Fake::new);
    let exact = backend(&bundle, engine());
    for (role, batch) in ROLES {
        let given = Given::new(&bundle, role, batch);
        let expected = given.run(instance(&exact, &bundle, role, batch).unwrap().as_mut()).unwrap();
        for (precision, near, roles) in PRECISIONS {
            if fake.is_some() && !roles.contains(&role) {
                continue;
            }
            let gpu = fake.as_ref().map_or_else(|| Gpu::open(&Driver::open()?, 0), Fake::gpu);
            let cuda = on(gpu, &bundle, precision).unwrap();
            let mut instance = instance(&cuda, &bundle, role, batch).unwrap();
            let begun = std::time::Instant::now();
            let found = given.run(instance.as_mut()).unwrap();
            let (error, took) = (apart(&found, &expected), begun.elapsed());
            println!("{role} in {precision}: {error:.1e}, {took:.1?}");
            assert!(error <= near, "{role} in {precision}: {error}");
            assert!(precision == Precision::F32 || found != expected, "{role} in {precision} rounds nothing");
        }
    }
    assert!(fake.is_none_or(|fake| fake.living().is_empty()));
}

#[test]
fn a_call_is_one_graph_and_takes_no_memory() {
    let bundle = bundle();
    let fake = Fake::new();
    let cuda = on(fake.gpu(), &bundle, Precision::F32).unwrap();
    let given = Given::new(&bundle, Role::Refiner, 2);
    let program = program(&cuda, &bundle, Role::Refiner, 2).unwrap();
    fake.calls();
    let mut instance = Arc::clone(&program).instantiate(&CancelToken::new()).unwrap();
    let calls = fake.calls();
    let place = |name: &str| {
        let found: Vec<usize> = (0..calls.len()).filter(|&i| calls[i] == name).collect();
        assert!(!found.is_empty(), "{name} is never called: {calls:?}");
        (found[0], found[found.len() - 1])
    };
    let (begun, ended) = (place("cuStreamBeginCapture_v2").0, place("cuStreamEndCapture").0);
    // Memory first, then what is captured, then the graph; nothing runs yet.
    assert!(place("cuMemAlloc_v2").1 < begun && place("cuMemHostAlloc").1 < begun);
    let copy = "cuMemcpyHtoDAsync_v2";
    assert!(begun < place(copy).1 && place(copy).1 < place("cuLaunchKernel").0);
    // What the arena holds from the start is there before anything else is asked for.
    for (i, _) in calls[..begun].iter().enumerate().filter(|(_, call)| *call == copy) {
        assert_eq!(calls[i + 1], "cuStreamSynchronize");
    }
    assert!(
        place("cuLaunchKernel").1 < place("cuMemcpyDtoHAsync_v2").0
            && place("cuMemcpyDtoHAsync_v2").1 < ended
    );
    assert!(ended < place("cuGraphInstantiateWithFlags").0);
    assert!(!calls.iter().any(|call| call == "cuGraphLaunch"));
    let first = given.run(instance.as_mut()).unwrap();
    fake.calls();
    for _ in 0..2 {
        assert_eq!(given.run(instance.as_mut()).unwrap(), first);
        let call = [
            "cuCtxPushCurrent_v2",
            "cuThreadExchangeStreamCaptureMode",
            "cuGraphLaunch",
            "cuStreamSynchronize",
            "cuThreadExchangeStreamCaptureMode",
            "cuCtxPopCurrent_v2",
        ];
        assert_eq!(fake.calls(), call);
    }
    // Another instance shares the weights.
    let before = fake.living();
    let count =
        |living: &[(&str, i64)], name: &str| living.iter().find(|one| one.0 == name).map_or(0, |one| one.1);
    let second = program.instantiate(&CancelToken::new()).unwrap();
    let after = fake.living();
    for (name, more) in
        [("modules", 0), ("allocations", 1), ("host allocations", 1), ("executables", 1), ("graphs", 0)]
    {
        assert_eq!(count(&after, name) - count(&before, name), more, "{name}");
    }
    drop((instance, second, cuda));
    assert_eq!(fake.living(), []);
}

#[test]
fn batch_sizes_share_their_weights() {
    let bundle = bundle();
    let fake = Fake::new();
    let cuda = on(fake.gpu(), &bundle, Precision::F32).unwrap();
    let first = program(&cuda, &bundle, Role::Predictor, 2).unwrap();
    let (before, other) = (allocations(&fake), program(&cuda, &bundle, Role::Predictor, 2).unwrap());
    // Small weights and tables are each program's own.
    let more = allocations(&fake) - before;
    assert!(more > 0 && 2 * more < before, "{more} beside {before}");
    drop((first, other));
}

fn allocations(fake: &Fake) -> i64 {
    fake.living().iter().find(|one| one.0 == "allocations").map_or(0, |one| one.1)
}

/// Threads on which somebody cancels when the first weight is on the device and the next one is packed.
struct Cancels(CancelToken, Arc<Fake>);

impl Parallel for Cancels {
    fn lanes(&self) -> usize {
        2
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        if allocations(&self.1) > 0 {
            self.0.cancel();
        }
        body(0);
    }
}

#[test]
fn loading_ends_when_it_is_cancelled_or_takes_too_long() {
    let bundle = bundle();
    let fake = Arc::new(Fake::new());
    let token = CancelToken::new();
    let load = |parallel: Arc<dyn Parallel>, limits: &Limits| {
        let runner = Arc::new(Cuda::new(&fake.gpu().unwrap(), Precision::F32, false).unwrap());
        let engine = Engine::new(Isa::available()[0], parallel).with_runner(runner, Precision::F32);
        let cuda = backend(&bundle, engine);
        let allowance = Allowance::new(limits, &token);
        cuda.program(&bundle, Role::Refiner, bundle.manifest().extent(2), &allowance).err().unwrap()
    };
    let hasty = Limits::default().with_max_planning(std::time::Duration::ZERO);
    let error = load(Arc::new(Inline), &hasty);
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    fake.calls();
    let error = load(Arc::new(Cancels(token.clone(), Arc::clone(&fake))), bundle.limits());
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    let uploads = fake.calls().iter().filter(|call| *call == "cuMemcpyHtoDAsync_v2").count();
    assert!((1..=2).contains(&uploads), "{uploads} uploads, though it was cancelled behind the first");
    assert_eq!(fake.living(), []);
}

#[test]
fn each_call_that_loads_or_runs_a_network_may_fail_and_the_next_one_works() {
    let bundle = bundle();
    let fake = Fake::new();
    let given = Given::new(&bundle, Role::Refiner, 2);
    let attempt = || -> Result<(Planned, Box<dyn Instance>)> {
        let cuda = on(fake.gpu(), &bundle, Precision::F32)?;
        let mut instance = instance(&cuda, &bundle, Role::Refiner, 2)?;
        given.run(instance.as_mut())?;
        Ok((cuda, instance))
    };
    let made = attempt().unwrap();
    // The first and the last of each kind.
    let calls = fake.calls();
    drop(made);
    let mut counts = std::collections::BTreeMap::new();
    calls.iter().for_each(|call| *counts.entry(call.as_str()).or_insert(0i64) += 1);
    for (call, count) in counts.into_iter().filter(|(call, _)| !frees(call)) {
        for nth in [1, count] {
            fake.fail(call, nth, if call == "cuGraphLaunch" { 700 } else { 1 });
            let error =
                attempt().err().unwrap_or_else(|| panic!("call {nth} of {call} fails and nobody says so"));
            let line = error.to_string();
            assert!(line.contains("cuda: ") && !line.contains('\n'), "{call}: {line}");
            assert_eq!(error.kind(), ErrorKind::Runtime, "{call}: {line}");
            assert_eq!(fake.living(), [], "after call {nth} of {call} failed: {line}");
            if call == "cuGraphLaunch" {
                fake.start_anew();
            }
        }
    }
    assert!(attempt().is_ok());
}

#[test]
fn a_device_without_memory_says_how_much_there_is() {
    let bundle = bundle();
    let fake = Fake::new();
    let load = || -> Result<Box<dyn Instance>> {
        let cuda = on(fake.gpu(), &bundle, Precision::F32)?;
        instance(&cuda, &bundle, Role::Predictor, 2)
    };
    fake.set_memory(1 << 20);
    let error: Error = load().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    let line = error.to_string();
    assert!(line.contains(" of 1048576 bytes are free: cuda: reserving "), "{line}");
    assert!(line.contains("bytes on Fake GPU 0 failed (CUDA_ERROR_OUT_OF_MEMORY, out of memory)"), "{line}");
    assert_eq!(fake.living(), []);
    fake.set_memory(1 << 30);
    assert!(load().is_ok());
    // Of the processor's that it copies from.
    fake.fail("cuMemHostAlloc", 1, 2);
    let error: Error = load().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("; the processor has too little memory that stays"), "{error}");
    assert_eq!(fake.living(), []);
}

#[test]
fn a_lost_device_is_lost_until_the_program_starts_anew() {
    let bundle = bundle();
    let fake = Fake::new();
    let given = Given::new(&bundle, Role::Refiner, 2);
    let cuda = on(fake.gpu(), &bundle, Precision::F32).unwrap();
    let mut first = instance(&cuda, &bundle, Role::Refiner, 2).unwrap();
    let expected = given.run(first.as_mut()).unwrap();
    fake.fail("cuGraphLaunch", 1, 719);
    for _ in 0..2 {
        let error = given.run(first.as_mut()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Runtime);
        let line = error.to_string();
        assert!(
            line.contains("(CUDA_ERROR_LAUNCH_FAILED") && line.contains("start the program anew"),
            "{line}"
        );
    }
    drop((first, cuda));
    assert_eq!(fake.living(), []);
    let line = on(fake.gpu(), &bundle, Precision::F32).err().unwrap().to_string();
    assert!(line.contains("opening the device failed (CUDA_ERROR_LAUNCH_FAILED"), "{line}");
    fake.start_anew();
    let cuda = on(fake.gpu(), &bundle, Precision::F32).unwrap();
    assert_eq!(given.run(instance(&cuda, &bundle, Role::Refiner, 2).unwrap().as_mut()).unwrap(), expected);
}

#[test]
fn what_is_cancelled_or_of_another_shape_never_reaches_the_device() {
    let bundle = bundle();
    let fake = Fake::new();
    let cuda = on(fake.gpu(), &bundle, Precision::F32).unwrap();
    let given = Given::new(&bundle, Role::Decoder, 1);
    let mut instance = instance(&cuda, &bundle, Role::Decoder, 1).unwrap();
    fake.calls();
    let cancel = CancelToken::new();
    cancel.cancel();
    let mut output = vec![0.0; given.output];
    let mut ask = |inputs: &[Input], output: &mut [f32], cancel: &CancelToken| match instance.advance(
        inputs,
        output,
        Pace::to_the_end(cancel),
    ) {
        std::task::Poll::Ready(outcome) => outcome.unwrap_err(),
        std::task::Poll::Pending => panic!("a call on a device does not pause"),
    };
    assert_eq!(ask(&given.inputs(), &mut output, &cancel).kind(), ErrorKind::Cancelled);
    let go_on = CancelToken::new();
    let short = ask(&[Input::F32(&given.floats[0][1..])], &mut output, &go_on);
    assert!(short.to_string().ends_with("input 0 has another shape than planned"), "{short}");
    let short = ask(&given.inputs(), &mut [0.0], &go_on);
    assert!(short.to_string().ends_with("the network's answer has another shape than planned"), "{short}");
    assert!(fake.calls().is_empty());
}
