//! The standard library, but for threads, locks and atomic numbers, which are Shuttle's.

pub use ::std::*;

pub mod sync {
    pub use ::std::sync::*;
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard, Once, RwLock, RwLockReadGuard, RwLockWriteGuard};

    pub mod atomic {
        pub use ::std::sync::atomic::*;
        pub use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
    }
}

pub mod thread {
    pub use ::std::thread::*;
    pub use shuttle::thread::{
        Builder, JoinHandle, Scope, ScopedJoinHandle, current, park, scope, sleep, spawn, yield_now,
    };
}

pub mod hint {
    pub use ::std::hint::*;
    pub use shuttle::hint::spin_loop;
}
