//! Many requests of every kind, made at random by eight sessions of one model at the same time: none fails, repeated
//! ones give the same bits, memory stays flat, cancels are quick, and all come to an end.
//!
//! A program of its own without the test harness: memory is the whole process's. `FLOWTURBO_SOAK` is the number of
//! requests; from 1000 on memory and cancels are held to limits. `FLOWTURBO_SOAK_BUSY` is the number of busy loops
//! beside it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flowturbo::ndarray::{Array3, Array4};
use flowturbo::{CancelToken, ErrorKind, Model, Output, Pixels, Request, Seamless, Session};

const SESSIONS: usize = 8;
/// As long as nothing may happen before all counts as stuck.
const STUCK: Duration = Duration::from_secs(300);
const EDGE: usize = 128;

/// xorshift: repeatable, and the same requests in each run for each session.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) % most
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

fn schedule(text: &str) -> flowturbo::Schedule {
    text.parse().unwrap()
}

/// One that is asked for again and again.
fn known() -> Request {
    Request::new(vec![3]).with_seed(9).with_schedule(schedule("H1R1"))
}

fn latents(session: &mut Session, request: &Request) -> Vec<u32> {
    session.latents(request).unwrap().iter().map(|value| value.to_bits()).collect()
}

fn anything(random: &mut Random) -> (Request, Output) {
    let class = |random: &mut Random| random.below(11) as i64;
    let images = if random.one_in(8) { 2 } else { 1 };
    let schedules = ["E1", "E2", "H1", "H1P1R1", "P2R1"];
    let mut request = Request::new((0..images).map(|_| class(random)).collect())
        .with_seed(random.below(1000))
        .with_schedule(schedule(random.pick(&schedules)));
    if random.one_in(4) {
        request = request.with_guidance(1.0);
    }
    if random.one_in(6) {
        request.morphs =
            (0..images).map(|_| Request::new(vec![0]).with_morph(class(random), 0.5).morphs[0]).collect();
    }
    if random.one_in(6) {
        request = request.with_seamless(random.pick(&[Seamless::X, Seamless::Y, Seamless::Both]));
    }
    if random.one_in(6) {
        request = request.with_variation(random.below(9), 0.3);
    }
    let mut size = [EDGE, EDGE];
    if random.one_in(10) {
        size = random.pick(&[[EDGE, 192], [192, EDGE]]);
        request = request.with_size(size[0], size[1]);
    }
    if random.one_in(6) {
        request = request.with_init(Array4::from_elem((1, 3, size[0], size[1]), 0.1), 0.7);
        if random.one_in(2) {
            let half = Array3::from_shape_fn((1, size[0], size[1]), |(_, y, _)| f32::from(u8::from(y < 64)));
            request = request.with_mask(half);
        }
    }
    let output = if random.one_in(3) { Output::Images } else { Output::Latents };
    (request, output)
}

/// A thread that cancels a token after a while, and tells when it did.
struct Canceller {
    orders: mpsc::Sender<(CancelToken, Duration)>,
    done: mpsc::Receiver<Instant>,
}

impl Canceller {
    fn new() -> Self {
        let (orders, taken) = mpsc::channel::<(CancelToken, Duration)>();
        let (tell, done) = mpsc::channel();
        std::thread::spawn(move || {
            for (token, wait) in taken {
                std::thread::sleep(wait);
                let now = Instant::now();
                token.cancel();
                if tell.send(now).is_err() {
                    break;
                }
            }
        });
        Self { orders, done }
    }
}

/// What is measured.
#[derive(Default)]
struct Measured {
    whole: Vec<Duration>,
    cancels: Vec<Duration>,
    /// Budgets of a few milliseconds, by how much they were exceeded.
    over: Vec<Duration>,
}

fn work(model: &Model, number: usize, left: &AtomicUsize, wanted: &[u32], all: &Mutex<Measured>) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1) << 32 | 1);
    let mut session = model.session();
    let canceller = Canceller::new();
    let mut of_mine = Measured::default();
    let take = |left: usize| left.checked_sub(1);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        if random.one_in(20) {
            session = model.session();
        }
        if random.one_in(10) {
            assert!(latents(&mut session, &known()) == wanted, "other bits");
            continue;
        }
        let (request, output) = anything(&mut random);
        let began = Instant::now();
        if random.one_in(4) {
            let token = CancelToken::new();
            let wait = Duration::from_micros(random.below(30_000));
            canceller.orders.send((token.clone(), wait)).unwrap();
            let request = request.with_cancel(token);
            let outcome = session.begin(&request, output).and_then(|()| {
                while !session.step(None, &mut |_| ControlFlow::Continue(()))? {}
                Ok(())
            });
            let ended = Instant::now();
            let cancelled = canceller.done.recv().unwrap();
            match outcome {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
                    of_mine.cancels.push(ended.duration_since(cancelled));
                }
            }
            continue;
        }
        if random.one_in(3) {
            session.begin(&request, output).unwrap();
            let budget = Duration::from_micros(200 + random.below(4000));
            // Some are left half-way.
            let most = if random.one_in(5) { 2 } else { usize::MAX };
            for _ in 0..most {
                let stepped = Instant::now();
                let done = session.step(Some(budget), &mut |_| ControlFlow::Continue(())).unwrap();
                of_mine.over.push(stepped.elapsed().saturating_sub(budget));
                if done {
                    break;
                }
            }
            continue;
        }
        if output == Output::Images {
            let [height, width] = request.size.unwrap_or([EDGE, EDGE]);
            let mut rgb = vec![0; request.classes.len() * height * width * 3];
            let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
            session.generate_into(&request, &mut Pixels::rgb8(&mut rgb), observer).unwrap();
        } else {
            let latents = session.latents(&request).unwrap();
            assert!(latents.iter().all(|value| value.is_finite()));
        }
        of_mine.whole.push(began.elapsed());
    }
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.whole.append(&mut of_mine.whole);
    all.cancels.append(&mut of_mine.cancels);
    all.over.append(&mut of_mine.over);
}

/// Memory of this process in MiB, where the system tells: at the moment, and at most so far.
fn memory() -> Option<[usize; 2]> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib / 1024)
    };
    Some([of("VmRSS")?, of("VmHWM")?])
}

fn milliseconds(times: &mut [Duration], share: f64) -> f64 {
    times.sort();
    let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

fn main() {
    let (requests, busy) = (number("FLOWTURBO_SOAK", 200), number("FLOWTURBO_SOAK_BUSY", 0));
    println!(
        "{requests} requests of every kind by {SESSIONS} sessions of one model, {busy} busy loops beside them"
    );
    let began = Instant::now();
    let model = Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/textures")).unwrap();
    let wanted = latents(&mut model.session(), &known());
    let stop = AtomicBool::new(false);
    let mut all = Mutex::new(Measured::default());
    // What is made for a first time, in the first tenth, counts as the start.
    let mut stages = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        for part in [requests / 10, requests - requests / 10] {
            let left = AtomicUsize::new(part);
            std::thread::scope(|scope| {
                let sessions: Vec<_> = (0..SESSIONS)
                    .map(|n| {
                        let (model, left, wanted, all) = (&model, &left, &wanted, &all);
                        scope.spawn(move || work(model, n, left, wanted, all))
                    })
                    .collect();
                let (mut last, mut moved) = (part, Instant::now());
                while !sessions.iter().all(|session| session.is_finished()) {
                    std::thread::sleep(Duration::from_millis(50));
                    let now = left.load(Ordering::Relaxed);
                    if now != last {
                        (last, moved) = (now, Instant::now());
                    }
                    if moved.elapsed() > STUCK {
                        eprintln!("stuck, with {now} requests left");
                        std::process::abort();
                    }
                }
            });
            stages.push(memory());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let all = all.get_mut().unwrap_or_else(PoisonError::into_inner);
    for (what, times) in [
        ("a request", &mut all.whole),
        ("from cancel to return", &mut all.cancels),
        ("beyond a budget", &mut all.over),
    ] {
        let [half, most, worst] = [0.5, 0.99, 1.0].map(|share| milliseconds(times, share));
        println!("{what}: {half:.1} ms p50, {most:.1} ms p99, {worst:.1} ms at most, of {}", times.len());
        assert!(requests < 200 || !times.is_empty());
    }
    println!("took {:.1?}", began.elapsed());
    if let [Some([start, _]), Some([end, most])] = stages[..] {
        println!("memory: {start} MiB after a tenth, {most} MiB at most, {end} MiB at the end");
        if requests >= 1000 {
            assert!(end <= start + start / 4 + 16, "memory grows");
        }
    }
    let limit = if busy > 0 { 50.0 } else { 20.0 };
    assert!(
        requests < 1000 || milliseconds(&mut all.cancels, 0.99) < limit,
        "cancels take longer than {limit} ms"
    );
}
