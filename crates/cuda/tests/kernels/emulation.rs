//! The kernels as a library for the host, and memory that they may touch; or, with `FLOWTURBO_GPU=1`, the binaries on
//! the first GPU of this machine.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use flowturbo_cuda::arguments::{Plain, bytes};
use flowturbo_cuda::kernel::{KERNELS, Launch};
use flowturbo_cuda::trial::{Table, Trial};
use flowturbo_cuda::{Driver, Gpu};
use flowturbo_kernels::{Inline, Isa, Workers};
use libloading::Library;

/// Where the crate's kernels are.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// The C++ compiler, told of the language's version and to take no warning.
pub fn compiler() -> Command {
    let mut command = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned()));
    command.args(["-std=c++17", "-Wall", "-Wextra", "-Werror"]);
    command
}

/// Runs a command that must succeed.
pub fn run(mut command: Command) {
    let said = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels.so");
        let mut command = compiler();
        command
            .args(["-O2", "-fPIC", "-shared", "-o"])
            .arg(&made)
            .arg(sources().join("emulation/emulation.cpp"));
        let more = std::env::var("FLOWTURBO_EMULATION_FLAGS").unwrap_or_default();
        command.args(more.split_whitespace());
        run(command);
        // SAFETY: a library of ours, which does nothing but enter kernels in a list when it is loaded.
        unsafe { Library::new(made) }.unwrap()
    })
}

type Emulate = unsafe extern "C" fn(*const c_char, *const u32, *const u32, u32, *mut *mut c_void) -> c_int;

/// 256 bytes on their boundary.
#[derive(Clone, Copy)]
#[repr(C, align(256))]
struct Line([f32; 64]);

/// The GPU that runs them, if one is to.
fn gpu() -> Option<&'static Trial> {
    static GPU: OnceLock<Option<Trial>> = OnceLock::new();
    let open = || Trial::new(&Gpu::open(&Driver::open()?, 0)?);
    GPU.get_or_init(|| std::env::var_os("FLOWTURBO_GPU").map(|_| open().unwrap())).as_ref()
}

/// An arena, and tables beside it.
pub struct Memory {
    lines: Vec<Line>,
    len: usize,
    tables: Vec<(u64, usize)>,
    on_gpu: Vec<Table>,
}

impl Memory {
    /// An arena that begins with these floats; no more of it may be touched.
    pub fn new(floats: &[f32]) -> Self {
        let mut lines = vec![Line([f32::NAN; 64]); floats.len().div_ceil(64)];
        for (line, floats) in lines.iter_mut().zip(floats.chunks(64)) {
            line.0[..floats.len()].copy_from_slice(floats);
        }
        Self { lines, len: floats.len(), tables: Vec::new(), on_gpu: Vec::new() }
    }

    pub fn floats(&self) -> &[f32] {
        // SAFETY: lines are floats without gaps.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// Lets kernels read a table, which must outlive this; gives its address.
    pub fn table<T: Plain>(&mut self, table: &[T]) -> u64 {
        if let Some(gpu) = gpu() {
            let table = gpu.table(bytes(table)).unwrap();
            let address = table.address();
            self.on_gpu.push(table);
            return address;
        }
        let (address, len) = (table.as_ptr() as u64, bytes(table).len());
        self.tables.push((address, len));
        address
    }

    /// Runs a kernel in emulation; gives what this complains of.
    pub fn try_launch<T: Plain>(
        &mut self,
        launch: Launch,
        arguments: &T,
        reversed: bool,
    ) -> Result<(), String> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let library = library();
        let name = CString::new(launch.kernel.name).unwrap();
        let mut arguments = *arguments;
        let mut arena = self.lines.as_mut_ptr().cast::<f32>();
        let mut parameters = [(&raw mut arguments).cast::<c_void>(), (&raw mut arena).cast()];
        let mut regions = self.tables.clone();
        regions.push((arena as u64, 4 * self.len));
        // SAFETY: as emulation.cpp declares them; the parameters are the kernel's own, which `Launch` promises.
        unsafe {
            let allow =
                library.get::<unsafe extern "C" fn(*const c_void, u64)>(b"flowturbo_emulate_allow").unwrap();
            let forget =
                library.get::<unsafe extern "C" fn(*const c_void)>(b"flowturbo_emulate_forget").unwrap();
            let order = library.get::<unsafe extern "C" fn(c_int)>(b"flowturbo_emulate_reversed").unwrap();
            let error =
                library.get::<unsafe extern "C" fn() -> *const c_char>(b"flowturbo_emulate_error").unwrap();
            let emulate = library.get::<Emulate>(b"flowturbo_emulate").unwrap();
            regions.iter().for_each(|&(at, len)| allow(at as *const c_void, len as u64));
            order(c_int::from(reversed));
            let block = [launch.kernel.threads, 1, 1];
            let failed =
                emulate(name.as_ptr(), launch.grid.as_ptr(), block.as_ptr(), 0, parameters.as_mut_ptr()) != 0;
            regions.iter().for_each(|&(at, _)| forget(at as *const c_void));
            if failed { Err(CStr::from_ptr(error()).to_string_lossy().into_owned()) } else { Ok(()) }
        }
    }

    fn must_launch<T: Plain>(&mut self, launch: Launch, arguments: &T, reversed: bool) {
        let outcome = match gpu() {
            Some(gpu) => {
                // SAFETY: lines are floats without gaps.
                let floats =
                    unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) };
                gpu.launch(launch, arguments, floats).map_err(|error| error.to_string())
            }
            None => self.try_launch(launch, arguments, reversed),
        };
        outcome.unwrap_or_else(|error| panic!("{launch:?}: {error}"));
    }

    /// Runs a kernel twice, in emulation in both orders of threads, which must not matter; what is made in the usual
    /// one is left.
    pub fn launch<T: Plain>(&mut self, launch: Launch, arguments: &T) {
        let before = self.lines.clone();
        self.must_launch(launch, arguments, true);
        let other = std::mem::replace(&mut self.lines, before);
        self.must_launch(launch, arguments, false);
        let same = other.iter().zip(&self.lines).all(|(a, b)| a.0.map(f32::to_bits) == b.0.map(f32::to_bits));
        assert!(same, "{launch:?}: the order of threads matters");
    }
}

/// What the CPU makes of an arena, by plain Rust.
pub fn on_cpu(floats: &[f32], scratch: usize, run: impl FnOnce(&mut Workers, &mut [f32])) -> Vec<f32> {
    let (mut arena, mut room) = (floats.to_vec(), vec![0.0; scratch.next_multiple_of(64)]);
    run(&mut Workers::new(Isa::Scalar, &Inline, &mut room), &mut arena);
    arena
}

/// Holds two arenas against each other: `tolerance` of 1 and of the number itself, and what is not a number in both.
pub fn compare(got: &[f32], want: &[f32], tolerance: f32, what: &dyn std::fmt::Debug) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let near = (got - want).abs() <= tolerance * (1.0 + want.abs());
        assert!(near || got == want || got.is_nan() && want.is_nan(), "{what:?}: {got} for {want} at {i}");
    }
}

/// Repeatable numbers in -1..1.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn what_a_kernel_may_not_touch_is_told() {
    use flowturbo_cuda::arguments::Integers;
    let mut memory = Memory::new(&[0.0; 8]);
    let arguments = Integers { integers: 0, out: 4, count: 3, reserved: 0 };
    let launch = arguments.launch().unwrap();
    let error = memory.try_launch(launch, &arguments, false).err();
    assert_eq!(error, None);
    let arguments = Integers { count: 5, ..arguments };
    let error = memory.try_launch(launch, &arguments, false).unwrap_err();
    assert!(error.contains("are nobody's (block 0 0, thread 4)"), "{error}");
}

#[test]
fn every_kernel_is_there_with_its_block() {
    let none = flowturbo_cuda::arguments::Matmul::default();
    for &kernel in KERNELS {
        // No block at all: only names and sizes are looked at.
        let launch = Launch { kernel, grid: [0, 1, 1] };
        assert_eq!(Memory::new(&[]).try_launch(launch, &none, false), Ok(()));
    }
}
