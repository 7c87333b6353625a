//! Plan files, sound and damaged.
