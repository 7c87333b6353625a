//! The planned networks of a model, by role and size.

use std::sync::{Arc, Weak};

use crate::backend::Program;
use crate::bundle::{Extent, Role};
use crate::recent::Recent;

/// The last few that were asked for, and whatever others some session still holds: those cost nothing to keep.
#[derive(Default)]
pub(super) struct Programs {
    recent: Recent<Arc<dyn Program>>,
    held: Vec<(Role, Extent, Weak<dyn Program>)>,
}

impl Programs {
    /// The program, which becomes the newest.
    pub(super) fn get(&mut self, role: Role, extent: Extent) -> Option<Arc<dyn Program>> {
        if let Some(program) = self.recent.get(role, extent) {
            return Some(Arc::clone(program));
        }
        let mut of_it = self.held.iter().filter(|held| (held.0, held.1) == (role, extent));
        let program = of_it.find_map(|held| held.2.upgrade())?;
        self.recent.put(role, extent, Arc::clone(&program));
        Some(program)
    }

    pub(super) fn put(&mut self, role: Role, extent: Extent, program: &Arc<dyn Program>) {
        self.held.retain(|held| held.2.strong_count() > 0);
        self.held.push((role, extent, Arc::downgrade(program)));
        self.recent.put(role, extent, Arc::clone(program));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Footprint, Instance};
    use crate::{CancelToken, Result};

    struct Blank;

    impl Program for Blank {
        fn instantiate(self: Arc<Self>, _: &CancelToken) -> Result<Box<dyn Instance>> {
            unreachable!("nobody runs it")
        }

        fn memory(&self) -> Footprint {
            Footprint::default()
        }

        fn describe(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn what_a_session_holds_is_found_again_and_what_nobody_holds_is_not() {
        let sizes = [1, 2, 3, 4].map(|batch| Extent { batch, cells: [8, 8] });
        let made: [Arc<dyn Program>; 4] = std::array::from_fn(|_| Arc::new(Blank) as Arc<dyn Program>);
        let mut programs = Programs::default();
        sizes.iter().zip(&made).for_each(|(&size, program)| programs.put(Role::Predictor, size, program));
        let held = Arc::clone(&made[0]);
        drop(made);
        // The last two are kept, the first is held here, the second by nobody.
        let mut found = |size| programs.get(Role::Predictor, size);
        assert!(found(sizes[1]).is_none());
        assert!(Arc::ptr_eq(&found(sizes[0]).unwrap(), &held));
        assert!(found(sizes[3]).is_some());
    }
}
