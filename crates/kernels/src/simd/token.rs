//! How tokens are made: whether the processor has a set is asked where a token comes from, and then known by its type.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the processor has something: asked once, for tokens are made for every tile.
pub(crate) struct Known(AtomicU8);

impl Known {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// What `ask` says, or said before; nothing is allocated or waited for.
    #[inline(always)]
    pub(crate) fn or_ask(&self, ask: fn() -> bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            2 => true,
            1 => false,
            _ => self.keep(ask()),
        }
    }

    #[cold]
    fn keep(&self, has: bool) -> bool {
        // Miri knows few instructions, whatever the processor says.
        let has = has && cfg!(not(miri));
        self.0.store(1 + u8::from(has), Ordering::Relaxed);
        has
    }
}

/// A token of an instruction set, and how work is entered that is compiled for it.
macro_rules! token {
    ($(#[$about:meta])* $name:ident, $features:literal, $has:expr) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(());

        impl $name {
            /// The token, where the processor has the set.
            #[inline(always)]
            pub(crate) fn new() -> Option<Self> {
                static HAS: $crate::simd::Known = $crate::simd::Known::new();
                HAS.or_ask(|| $has).then_some(Self(()))
            }

            /// The token without a question, where it was asked before.
            ///
            /// # Safety
            /// The processor has the set.
            #[inline(always)]
            pub(crate) unsafe fn assume() -> Self {
                Self(())
            }

            /// Runs `kernel` compiled for the set. It takes no token, which would have the kernel copied.
            ///
            /// # Safety
            /// The processor has it.
            #[target_feature(enable = $features)]
            pub(crate) unsafe fn enter<K: $crate::simd::Kernel>(kernel: K) -> K::Output {
                // SAFETY: the caller's promise.
                kernel.run(unsafe { Self::assume() })
            }
        }
    };
}

/// Methods of a token by instructions of its set. The bodies, which are compiled for it, are safe code.
macro_rules! methods {
    ($features:literal $($(#[$about:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block)*) => {$(
        $(#[$about])*
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $out {
            #[inline]
            #[target_feature(enable = $features)]
            fn compiled($($arg: $type),*) -> $out $body
            // SAFETY: the token is there where the processor has these features.
            unsafe { compiled($($arg),*) }
        }
    )*};
}

pub(crate) use {methods, token};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_processor_has_is_asked_once() {
        static ASKED: AtomicU8 = AtomicU8::new(0);
        let (has, has_not) = (Known::new(), Known::new());
        for _ in 0..3 {
            assert_eq!(has.or_ask(|| ASKED.fetch_add(1, Ordering::Relaxed) == 0), cfg!(not(miri)));
            assert!(!has_not.or_ask(|| ASKED.fetch_add(1, Ordering::Relaxed) == 7));
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }
}
