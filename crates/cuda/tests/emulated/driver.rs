//! The driver by itself: in which order it is asked, what becomes of its errors.

use flowturbo_cuda::arguments::Integers;
use flowturbo_cuda::trial::Trial;
use flowturbo_cuda::{Cuda, Gpu};
use flowturbo_runtime::{ErrorKind, Precision};

use super::fake::Fake;

#[test]
fn the_version_is_asked_for_before_the_driver_is_started() {
    let fake = Fake::new();
    let driver = fake.driver().unwrap();
    assert_eq!(driver.version, (12, 4));
    assert_eq!(fake.calls(), ["cuDriverGetVersion", "cuInit"]);
}

#[test]
fn devices_say_what_they_are() {
    let fake = Fake::new();
    fake.set_devices(2);
    let devices = fake.driver().unwrap().devices().unwrap();
    let lines: Vec<String> = devices.iter().map(ToString::to_string).collect();
    let line = |number: u32, uuid: &str| {
        format!("Fake GPU {number}, 8.0 GiB, compute capability 8.6, GPU-{uuid}, driver for CUDA 12.4")
    };
    assert_eq!(
        lines,
        [line(0, "00010203-0405-0607-0809-0a0b0c0d0e0f"), line(1, "10111213-1415-1617-1819-1a1b1c1d1e1f")]
    );
    assert_eq!(fake.living(), [], "a list opens no device");
}

#[test]
fn a_machine_that_cannot_is_told_in_one_line_and_asked_again_the_next_time() {
    let fake = Fake::new();
    fake.set_version(11_080);
    let error = fake.driver().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "the NVIDIA display driver is too old: it speaks CUDA 11.8; update it to one that speaks CUDA 12.0 (525 or \
         newer), or take the cpu"
    );
    assert_eq!(fake.calls(), ["cuDriverGetVersion"]);
    fake.set_version(12_000);
    fake.set_devices(0);
    let error = fake.driver().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "cuda: starting the driver failed (CUDA_ERROR_NO_DEVICE, as the fake driver was told); the driver sees no \
         device: take the cpu, or look at what nvidia-smi says"
    );
    fake.set_devices(1);
    assert!(fake.gpu().is_ok());
    assert_eq!(fake.living(), []);
}

#[test]
fn a_device_that_is_not_there_is_named_with_those_that_are() {
    let fake = Fake::new();
    for (count, wanted, line) in [
        (1, 1, "cuda:1 asked for, there is one device, cuda:0"),
        (3, u32::MAX, "cuda:4294967295 asked for, there are devices cuda:0 to cuda:2"),
    ] {
        fake.set_devices(count);
        let error = Gpu::open(&fake.driver().unwrap(), wanted).err().unwrap();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidArgument, line));
    }
    assert_eq!(fake.living(), []);
}

#[test]
fn each_call_that_opens_a_device_may_fail_and_nothing_is_left_of_it() {
    let fake = Fake::new();
    let open = || {
        let gpu = fake.gpu()?;
        Cuda::new(&gpu, Precision::F32, false)
    };
    // What is given back later is of no use to anybody when it fails.
    let opened = open().unwrap();
    let calls = fake.calls();
    drop(opened);
    assert!(calls.len() > 10, "{calls:?}");
    let mut counts = std::collections::BTreeMap::new();
    for call in calls.iter().filter(|call| !frees(call)) {
        let nth = counts.entry(call).and_modify(|nth| *nth += 1).or_insert(1i64);
        for (status, name, kind) in
            [(1, "INVALID_VALUE", ErrorKind::Runtime), (999, "UNKNOWN", ErrorKind::Unsupported)]
        {
            fake.fail(call, *nth, status);
            let error =
                open().err().unwrap_or_else(|| panic!("call {nth} of {call} fails and nobody says so"));
            let line = error.to_string();
            assert!(error.kind() == kind && line.contains(&format!("(CUDA_ERROR_{name}")), "{call}: {line}");
            assert!(line.starts_with("cuda: ") && !line.contains('\n'), "{line}");
            assert_eq!(fake.living(), [], "after call {nth} of {call} failed");
        }
    }
    assert!(open().is_ok());
}

/// Whether a call gives something back, or may do.
pub fn frees(call: &str) -> bool {
    ["Free", "Release", "Destroy", "Unload", "Pop", "Exchange"].iter().any(|word| call.contains(word))
}

#[test]
fn an_application_that_records_on_another_thread_is_not_disturbed() {
    let fake = Fake::new();
    fake.set_records_elsewhere();
    let gpu = fake.gpu().unwrap();
    Cuda::new(&gpu, Precision::F32, false).unwrap();
    assert_eq!(fake.capture_mode(), 0, "the thread's own mode is back");
    fake.fail("cuThreadExchangeStreamCaptureMode", 1, 999);
    let line = Cuda::new(&gpu, Precision::F32, false).err().unwrap().to_string();
    assert!(line.starts_with("cuda: entering the device's context failed (CUDA_ERROR_UNKNOWN"), "{line}");
    assert_eq!(fake.capture_mode(), 0);
    drop(gpu);
    assert_eq!(fake.living(), []);
}

#[test]
fn a_device_that_takes_no_machine_code_gets_the_text() {
    let fake = Fake::new();
    fake.set_text_only();
    let gpu = fake.gpu().unwrap();
    fake.calls();
    Cuda::new(&gpu, Precision::F32, false).unwrap();
    let loaded = fake.calls().iter().filter(|call| *call == "cuModuleLoadData").count();
    assert_eq!(loaded, 2);
    // What is older than the text has none.
    fake.set_capability(7, 5);
    let line = Cuda::new(&fake.gpu().unwrap(), Precision::F32, false).err().unwrap().to_string();
    assert_eq!(
        line,
        "cuda: loading the kernels failed (CUDA_ERROR_NO_BINARY_FOR_GPU, as the fake driver was told); the kernels \
         are not for this device and driver: update the driver, or take the cpu"
    );
    // No other error is tried again.
    fake.calls();
    fake.fail("cuModuleLoadData", 1, 200);
    assert!(Cuda::new(&gpu, Precision::F32, false).is_err());
    assert_eq!(fake.calls().iter().filter(|call| *call == "cuModuleLoadData").count(), 1);
    drop(gpu);
    assert_eq!(fake.living(), []);
}

/// As the tests of kernels do on a GPU.
#[test]
fn a_kernel_by_itself_runs_on_a_device() {
    let fake = Fake::new();
    let trial = Trial::new(&fake.gpu().unwrap()).unwrap();
    let table = trial.table(&[7; 16]).unwrap();
    assert!(table.address() > 0);
    let mut floats: Vec<f32> =
        [3i64, -2].iter().flat_map(|n| [*n as u32, (*n >> 32) as u32]).map(f32::from_bits).collect();
    floats.extend([0.5; 3]);
    let integers = Integers { integers: 0, out: 4, count: 2, reserved: 0 };
    trial.launch(integers.launch().unwrap(), &integers, &mut floats).unwrap();
    assert_eq!(floats[4..], [3.0, -2.0, 0.5]);
    let beyond = Integers { count: 4, ..integers };
    let error = trial.launch(beyond.launch().unwrap(), &beyond, &mut floats).unwrap_err().to_string();
    assert!(error.contains("running a network failed (CUDA_ERROR_LAUNCH_FAILED"), "{error}");
    drop((trial, table));
    assert_eq!(fake.living(), []);
}

#[test]
fn a_forked_process_is_told_what_it_is() {
    let fake = Fake::new();
    let gpu = fake.gpu().unwrap();
    fake.fail("cuCtxPushCurrent_v2", 1, 3);
    let error = Cuda::new(&gpu, Precision::F32, false).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Runtime);
    assert!(error.to_string().contains("CUDA goes on in no process that was forked"), "{error}");
}

#[test]
fn what_no_device_has_is_refused_by_name() {
    let fake = Fake::new();
    let gpu = fake.gpu().unwrap();
    let refused = |precision: Precision, deterministic: bool| {
        let error = Cuda::new(&gpu, precision, deterministic).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        error.to_string()
    };
    assert_eq!(
        refused(Precision::Int8, false),
        "precision: int8 is for the cpu; CUDA devices compute in f32, tf32, f16 or bf16"
    );
    assert_eq!(
        refused(Precision::F32, true),
        "deterministic: a CUDA device adds up in another order than processors do; take the cpu"
    );
    drop(gpu);
    fake.set_capability(7, 5);
    let gpu = fake.gpu().unwrap();
    for precision in [Precision::Bf16, Precision::Tf32] {
        let line = Cuda::new(&gpu, precision, false).err().unwrap().to_string();
        assert_eq!(
            line,
            format!(
                "precision: {precision} takes compute capability 8.0, Fake GPU 0 has 7.5; take f32 or f16"
            )
        );
    }
    for precision in [Precision::F32, Precision::F16Weights, Precision::F16] {
        assert!(Cuda::new(&gpu, precision, false).is_ok(), "{precision}");
    }
}
