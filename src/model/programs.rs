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
