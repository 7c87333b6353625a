//! Keeps what was made for the batch sizes in use, and lets older ones go.

#![forbid(unsafe_code)]

use crate::Role;

/// Sizes of each role that are kept: the one in use, and one to change back to.
const KEPT: usize = 2;

/// The last values put in for each role, by batch size.
pub(crate) struct Recent<T>(Vec<(Role, usize, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Recent<T> {
    pub(crate) fn get(&self, role: Role, batch: usize) -> Option<&T> {
        self.position(role, batch).and_then(|i| self.0.get(i)).map(|(_, _, value)| value)
    }

    pub(crate) fn take(&mut self, role: Role, batch: usize) -> Option<T> {
        self.position(role, batch).map(|i| self.0.remove(i).2)
    }

    /// Puts a value in as the newest of its role; beyond the last few, the oldest goes.
    pub(crate) fn put(&mut self, role: Role, batch: usize, value: T) {
        self.take(role, batch);
        if self.0.iter().filter(|entry| entry.0 == role).count() == KEPT
            && let Some(oldest) = self.0.iter().position(|entry| entry.0 == role)
        {
            self.0.remove(oldest);
        }
        self.0.push((role, batch, value));
    }

    fn position(&self, role: Role, batch: usize) -> Option<usize> {
        self.0.iter().position(|entry| (entry.0, entry.1) == (role, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_sizes_of_each_role_stay() {
        let mut recent = Recent::default();
        for batch in [1, 2, 1, 3] {
            recent.put(Role::Predictor, batch, batch * 10);
        }
        recent.put(Role::Refiner, 9, 90);
        let kept = |batch| recent.get(Role::Predictor, batch).copied();
        assert_eq!((kept(1), kept(2), kept(3)), (Some(10), None, Some(30)));
        assert_eq!(recent.take(Role::Refiner, 9), Some(90));
        assert_eq!(recent.get(Role::Refiner, 9), None);
    }
}
