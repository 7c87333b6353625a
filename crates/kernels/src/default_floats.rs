//! The floating-point environment: how a processor rounds, what it does with numbers too small, what it traps.
//!
//! It belongs to a thread, and the program that calls this library may have changed it: games flush small numbers to
//! zero, numerical programs trap a division by zero, interval arithmetic rounds upwards. Kernels are written for the
//! default one: to the nearest, small numbers kept, nothing trapped.

use std::marker::PhantomData;

/// The default environment on this thread for as long as this lives; then what was there before, with its flags.
#[must_use]
pub struct DefaultFloats {
    before: register::State,
    /// It is a thread's own.
    _here: PhantomData<*const ()>,
}

impl DefaultFloats {
    pub fn enter() -> Self {
        let before = register::read();
        register::write(register::DEFAULT);
        Self { before, _here: PhantomData }
    }

    /// For the rest of a thread of our own: a new one begins with the environment of the thread that made it.
    pub fn for_good() {
        register::write(register::DEFAULT);
    }
}

impl Drop for DefaultFloats {
    fn drop(&mut self) {
        register::write(self.before);
    }
}

/// MXCSR, of the vector instructions, and the control word of the x87: nothing here computes with that, but C's
/// `fenv.h` asks it, in a callback too.
#[cfg(all(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse")), not(miri)))]
mod register {
    use std::arch::asm;

    pub(super) type State = (u32, u16);

    /// All exceptions masked, to the nearest, nothing flushed, no flag set.
    pub(super) const DEFAULT: State = (0x1f80, 0x37f);

    pub(super) fn read() -> State {
        let (mut vectors, mut x87) = (0u32, 0u16);
        // SAFETY: stores four bytes and two, each to a place of so many.
        unsafe {
            asm!(
                "stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut vectors, in(reg) &raw mut x87,
                options(nostack, preserves_flags)
            );
        }
        (vectors, x87)
    }

    pub(super) fn write((vectors, x87): State) {
        // SAFETY: loads four bytes and two, the default or what `read` gave, which sets no reserved bit. What was
        // compiled for the default environment runs under it, or after the last of our own arithmetic.
        unsafe {
            asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const vectors, in(reg) &raw const x87, options(nostack));
        }
    }
}

/// FPCR, the control, and FPSR, the flags.
#[cfg(all(target_arch = "aarch64", not(miri)))]
mod register {
    use std::arch::asm;

    pub(super) type State = [u64; 2];

    pub(super) const DEFAULT: State = [0, 0];

    pub(super) fn read() -> State {
        let (control, flags): (u64, u64);
        // SAFETY: reads two registers that every program may read.
        unsafe {
            asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) flags, options(nostack, preserves_flags));
        }
        [control, flags]
    }

    pub(super) fn write([control, flags]: State) {
        // SAFETY: the default, or what `read` gave. What was compiled for the default environment runs under it, or
        // after the last of our own arithmetic.
        unsafe { asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) control, in(reg) flags, options(nostack)) };
    }
}

/// Others are left as they are.
#[cfg(any(
    miri,
    not(any(
        target_arch = "x86_64",
        all(target_arch = "x86", target_feature = "sse"),
        target_arch = "aarch64"
    ))
))]
mod register {
    pub(super) type State = ();

    pub(super) const DEFAULT: State = ();

    pub(super) fn read() -> State {}

    pub(super) fn write((): State) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod tests {
    use super::super::parallel::{Threads, Workers};
    use super::super::{Isa, Parallel, Pool};
    use super::*;

    /// Flushes small numbers to zero, rounds upwards, and has a flag set.
    #[cfg(target_arch = "x86_64")]
    const ODD: register::State = (0x1f80 | 0x8040 | 0x4000 | 0x4, 0x37f | 0x800);
    #[cfg(target_arch = "aarch64")]
    const ODD: register::State = [1 << 24 | 1 << 22, 0x2];

    /// What tells `ODD` from the default. A function of its own, so that nothing of it is computed elsewhere.
    #[inline(never)]
    fn small_and_rounded() -> (f32, f32) {
        use std::hint::black_box;
        black_box((black_box(f32::MIN_POSITIVE) / black_box(2.0), black_box(1.0) + black_box(1e-9)))
    }

    /// Does `work` under `ODD`, which must be there afterwards.
    fn oddly<T>(work: impl FnOnce() -> T) -> T {
        let before = DefaultFloats::enter();
        register::write(ODD);
        let done = work();
        let after = register::read();
        drop(before);
        assert_eq!(after, ODD);
        done
    }

    #[test]
    fn arithmetic_is_the_usual_one_and_afterwards_all_is_as_before() {
        let usual = small_and_rounded();
        let (odd, inside) = oddly(|| {
            let odd = small_and_rounded();
            register::write(ODD);
            let _default = DefaultFloats::enter();
            (odd, small_and_rounded())
        });
        assert_eq!(inside, usual);
        assert!(odd.0 == 0.0 && odd.1 > usual.1, "{odd:?}");
    }

    #[test]
    fn threads_compute_as_usual_whatever_environment_they_were_made_in() {
        let usual = small_and_rounded();
        let pool = oddly(|| Pool::new(3).unwrap());
        for parallel in [&pool as &dyn Parallel, &Threads(3)] {
            oddly(|| {
                let mut scratch = vec![0.0; 3 * 16];
                let mut workers = Workers::new(Isa::available()[0], parallel, &mut scratch);
                for _ in 0..100 {
                    workers.each(12, 1, |_, _| assert_eq!(small_and_rounded(), usual));
                }
            });
        }
    }
}
