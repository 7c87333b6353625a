//! Keeps what was made for the sizes in use, and lets older ones go.

#![forbid(unsafe_code)]

use crate::bundle::{Extent, Role};

/// Sizes of each role that are kept: the one in use, and one to change back to.
const KEPT: usize = 2;

/// The last values put in for each role, by size.
pub(crate) struct Recent<T>(Vec<(Role, Extent, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Recent<T> {
    /// The value, which becomes the newest.
    pub(crate) fn get(&mut self, role: Role, extent: Extent) -> Option<&T> {
        let found = self.position(role, extent)?;
        let entry = self.0.remove(found);
        self.0.push(entry);
        self.0.last().map(|(_, _, value)| value)
    }

    pub(crate) fn take(&mut self, role: Role, extent: Extent) -> Option<T> {
        self.position(role, extent).map(|i| self.0.remove(i).2)
    }

    /// Puts a value in as the newest of its role; beyond the last few, the oldest goes.
    pub(crate) fn put(&mut self, role: Role, extent: Extent, value: T) {
        self.take(role, extent);
        if self.0.iter().filter(|entry| entry.0 == role).count() == KEPT
            && let Some(oldest) = self.0.iter().position(|entry| entry.0 == role)
        {
            self.0.remove(oldest);
        }
        self.0.push((role, extent, value));
    }

    fn position(&self, role: Role, extent: Extent) -> Option<usize> {
        self.0.iter().position(|entry| (entry.0, entry.1) == (role, extent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_sizes_of_each_role_stay() {
        let mut recent = Recent::default();
        let at = |batch| Extent { batch, cells: [8, 8] };
        for batch in [1, 2, 1, 3] {
            recent.put(Role::Predictor, at(batch), batch * 10);
        }
        recent.put(Role::Refiner, at(9), 90);
        let mut kept = |batch| recent.get(Role::Predictor, at(batch)).copied();
        assert_eq!((kept(1), kept(2), kept(3)), (Some(10), None, Some(30)));
        assert_eq!(recent.take(Role::Refiner, at(9)), Some(90));
        assert_eq!(recent.get(Role::Refiner, at(9)), None);
    }
}
