//! What a network computes of time, class and pooled context alone: once for each of them, kept in a table.
//!
//! A request's conditions are computed together, so that the weights are read once; the null class's rows, and those
//! of any class or context that comes again, are there already. Sessions of a model share the table, and networks for
//! several batch sizes too. A row is kept with its context, and is that of equal bits only.

use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::Executable;
use crate::backend::{Condition, Fallback, Footprint, Input};
use crate::contract::{Contract, PortRole};
use crate::error::{invalid_bundle, runtime, unsupported};
use crate::lock::{lock, lock_unless};
use crate::memory::refused;
use crate::plan::{Row, RowLayout};
use crate::{CancelToken, Error, Result, memory};

/// Conditions that are computed at a time: a schedule's worth.
pub const ROWS: usize = 16;

/// Bytes that a table may grow to, unless that is too little for one schedule.
const BYTES: usize = 128 << 20;
/// Rows that a table holds at most, and at least.
const KEPT: std::ops::RangeInclusive<usize> = 128..=4096;

/// Where time, class and a pooled context are among the inputs of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    time: usize,
    /// None for a network of one class: all its conditions have class 0.
    class: Option<usize>,
    /// None for a network without a context, or with one of tokens: that is an input of every call. Never in a file:
    /// the manifest says so.
    #[serde(skip)]
    context: Option<ContextPort>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContextPort {
    place: usize,
    /// Floats of a context.
    width: usize,
}

/// The inputs that conditions say nothing of, and those of the conditions; none for a network without a time.
pub fn ports(contract: &Contract) -> Option<(Vec<usize>, Ports)> {
    let place = |role: PortRole| contract.inputs.iter().position(|port| port.role == role);
    let pooled = |place: usize| match contract.inputs[place].shape[..] {
        [_, width] => Some(ContextPort { place, width }),
        _ => None,
    };
    let ports = Ports {
        time: place(PortRole::Time)?,
        class: place(PortRole::Class),
        context: place(PortRole::Context).and_then(pooled),
    };
    let of_context = ports.context.map(|context| context.place);
    let conditions = [Some(ports.time), ports.class, of_context];
    let state = (0..contract.inputs.len()).filter(|&i| !conditions.contains(&Some(i)));
    Some((state.collect(), ports))
}

impl Ports {
    /// Those that a plan file says, with what only `contract` does.
    ///
    /// # Errors
    /// `InvalidBundle`: they are other ones than the contract's.
    pub fn completed(self, contract: &Contract) -> Result<Self> {
        let own = ports(contract).map(|(_, own)| own);
        own.filter(|own| (own.time, own.class) == (self.time, self.class))
            .ok_or_else(|| invalid_bundle("its conditions are not those that the manifest gives the network"))
    }

    /// Floats of a context that is a condition; 0 where none is.
    fn width(&self) -> usize {
        self.context.map_or(0, |context| context.width)
    }
}

/// What a row of the table is computed of.
#[derive(Clone, Copy, Debug)]
struct Key<'a> {
    /// By its bits.
    time: u32,
    class: i64,
    context: &'a [f32],
}

impl PartialEq for Key<'_> {
    /// Contexts too are the same if their bits are.
    fn eq(&self, other: &Self) -> bool {
        let bits = |context: &'_ [f32]| {
            context.iter().map(|x| x.to_bits()).eq(other.context.iter().map(|x| x.to_bits()))
        };
        (self.time, self.class) == (other.time, other.class) && bits(self.context)
    }
}

/// The conditioning part of a network, and the table of its answers.
pub struct Conditions {
    /// The network's file.
    pub file: String,
    /// Where its answers lie in a row.
    pub layout: RowLayout,
    ports: Ports,
    /// Conditions in one run.
    count: usize,
    /// The operations of the part that tract runs.
    pub fallbacks: Vec<Fallback>,
    /// Locked while something is computed, which may take long. None where there are no other rows than the table's.
    source: Option<Mutex<Source>>,
    /// Locked for a moment: a session whose rows are there never waits for another one's.
    table: Mutex<Answers>,
}

/// What computes rows.
struct Source {
    executable: Executable,
    /// Weights stay in memory between runs.
    keep: bool,
}

struct Answers {
    /// Time, by its bits, and class.
    pairs: Vec<(u32, i64)>,
    /// The context of each pair, one after another, of so many floats.
    contexts: Vec<f32>,
    width: usize,
    /// The row of each pair.
    rows: Vec<f32>,
    /// Rows that there is room for.
    most: usize,
    /// The oldest row, once the table is full.
    oldest: usize,
}

impl Answers {
    fn new(width: usize, most: usize) -> Self {
        Self { pairs: Vec::new(), contexts: Vec::new(), width, rows: Vec::new(), most, oldest: 0 }
    }

    fn key(&self, i: usize) -> Key<'_> {
        let (time, class) = self.pairs[i];
        Key { time, class, context: &self.contexts[i * self.width..][..self.width] }
    }

    fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        (0..self.pairs.len()).map(|i| self.key(i))
    }

    /// Where the row of `key` is.
    fn find(&self, key: Key) -> Option<usize> {
        self.keys().position(|known| known == key)
    }

    /// Those of `keys` that are not known, each once.
    fn missing<'a>(&self, keys: impl Iterator<Item = Key<'a>>) -> Vec<Key<'a>> {
        let mut missing = Vec::new();
        for key in keys {
            if self.find(key).is_none() && !missing.contains(&key) {
                missing.push(key);
            }
        }
        missing
    }

    /// # Errors
    /// `OutOfMemory`.
    fn insert(&mut self, key: Key, row: &[f32]) -> Result<()> {
        if self.find(key).is_some() {
            return Ok(());
        }
        let Key { time, class, context } = key;
        if self.pairs.len() < self.most {
            let wanted = (size_of_val(row) + size_of_val(context)) as u64;
            self.rows.try_reserve(row.len()).map_err(|_| refused(wanted))?;
            self.contexts.try_reserve(context.len()).map_err(|_| refused(wanted))?;
            self.pairs.push((time, class));
            self.contexts.extend_from_slice(context);
            self.rows.extend_from_slice(row);
        } else {
            self.pairs[self.oldest] = (time, class);
            self.contexts[self.oldest * self.width..][..self.width].copy_from_slice(context);
            self.rows[self.oldest * row.len()..][..row.len()].copy_from_slice(row);
            self.oldest = (self.oldest + 1) % self.most;
        }
        Ok(())
    }
}

impl Conditions {
    /// Rows that `executable` computes; with `keep`, its weights stay in memory.
    pub fn new(file: &str, executable: Executable, keep: bool, ports: Ports, layout: RowLayout) -> Self {
        let each = layout.row.saturating_add(ports.width()).max(1);
        let most = (BYTES / 4 / each).clamp(*KEPT.start(), *KEPT.end());
        let table = Answers::new(ports.width(), most);
        let fallbacks = executable.fallbacks().collect();
        let (source, table) = (Some(Mutex::new(Source { executable, keep })), Mutex::new(table));
        let (file, count) = (file.to_owned(), layout.images);
        Self { file, layout, ports, count, fallbacks, source, table }
    }

    /// These rows and no others.
    ///
    /// # Errors
    /// `InvalidBundle`: a row of another length than the layout's. `OutOfMemory`.
    pub fn baked(file: &str, baked: &[Row], ports: Ports, layout: RowLayout) -> Result<Self> {
        let width = ports.width();
        let mut table = Answers::new(width, baked.len());
        memory::reserve(&mut table.rows, baked.len().saturating_mul(layout.row))?;
        for Row { time, class, floats } in baked {
            if width.checked_add(layout.row) != Some(floats.len()) {
                return Err(invalid_bundle("a row of conditions has another length than its layout"));
            }
            let (context, floats) = floats.split_at(width);
            table.insert(Key { time: time.to_bits(), class: *class, context }, floats)?;
        }
        let (file, count) = (file.to_owned(), layout.images);
        Ok(Self { file, layout, ports, count, fallbacks: Vec::new(), source: None, table: Mutex::new(table) })
    }

    /// All rows that are known so far.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn known(&self) -> Result<Vec<Row>> {
        let table = self.table();
        let rows = table.rows.chunks_exact(self.layout.row.max(1));
        let known = table.keys().zip(rows);
        known
            .map(|(Key { time, class, context }, row)| {
                let floats = context.iter().chain(row).copied();
                let floats = memory::collected(context.len() + row.len(), floats)?;
                Ok(Row { time: f32::from_bits(time), class, floats })
            })
            .collect()
    }

    /// Where the conditions are among the network's inputs.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Gives the weights up, now and after each time that they are read again.
    pub fn release(&self) {
        if let Some(source) = &self.source {
            let mut source = lock(source);
            source.keep = false;
            source.executable.release();
        }
    }

    /// Weights with the table's rows so far; what one run takes for a moment.
    pub fn footprint(&self) -> Footprint {
        let computing = self.source.as_ref().map(|source| lock(source).executable.footprint());
        let Footprint { weights, instance, .. } = computing.unwrap_or_default();
        let rows = {
            let table = self.table();
            size_of::<f32>() * (table.rows.capacity() + table.contexts.capacity())
        };
        Footprint { weights: weights + rows, instance: 0, passing: instance }
    }

    /// Conditions that are computed at once, and those that there is room for.
    pub fn room(&self) -> (usize, usize) {
        (self.count, self.table().most)
    }

    pub fn describe(&self) -> String {
        match &self.source {
            Some(source) => format!("{} at a time: {}", self.count, lock(source).executable.describe()),
            None => format!("baked: {} rows\n", self.table().pairs.len()),
        }
    }

    /// Computes what is not in the table yet, as far as there is room: the rest when its turn comes. `contexts` are
    /// those that `wanted` names by their places.
    pub fn prepare(&self, wanted: &[Condition], contexts: &[f32], cancel: &CancelToken) -> Result<()> {
        let (classed, width) = (self.ports.class.is_some(), self.ports.width());
        if wanted.iter().any(|condition| contexts.len() / width.max(1) <= condition.context && width > 0) {
            return Err(runtime("a context is missing among those that were given"));
        }
        let key = |&Condition { time, class, context }: &Condition| Key {
            time: time.to_bits(),
            class: if classed { class } else { 0 },
            context: &contexts[context * width..][..width],
        };
        let (mut missing, most) = {
            let table = self.table();
            (table.missing(wanted.iter().map(key)), table.most)
        };
        missing.truncate(most);
        missing.chunks(self.count).try_for_each(|keys| self.compute(keys, |_, _| {}, cancel))
    }

    /// Writes the row of each image's conditions, one after another.
    pub fn fill(&self, inputs: &[Input], given: &mut [f32], cancel: &CancelToken) -> Result<()> {
        let Ports { time, class, context } = self.ports;
        let floats = |place: usize| match inputs.get(place) {
            Some(Input::F32(floats)) => Ok(*floats),
            _ => Err(runtime("time or context is missing among the inputs")),
        };
        let integers = |place: usize| match inputs.get(place) {
            Some(Input::I64(integers)) => Ok(*integers),
            _ => Err(runtime("the class is missing among the inputs")),
        };
        let (times, classes) = (floats(time)?, class.map(integers).transpose()?);
        let (contexts, width) = match context {
            Some(ContextPort { place, width }) => (floats(place)?, width),
            None => (&[][..], 0),
        };
        let key = |i: usize| {
            Some(Key {
                time: times.get(i)?.to_bits(),
                class: classes.map_or(Some(0), |classes| classes.get(i).copied())?,
                context: contexts.get(i * width..)?.get(..width)?,
            })
        };
        for (i, row) in given.chunks_exact_mut(self.layout.row).enumerate() {
            let Some(wanted) = key(i) else { break };
            let known = |table: &Answers, row: &mut [f32]| {
                let at = table.find(wanted);
                at.map(|at| row.copy_from_slice(&table.rows[at * row.len()..][..row.len()])).is_some()
            };
            let mut found = false;
            // Another session may be quicker, and in a small table others may take the row's place again.
            while !found && !known(&self.table(), row) {
                let mut missing = self.table().missing((i..).map_while(key));
                missing.truncate(self.count);
                let copy = |computed: Key, answer: &[f32]| {
                    if computed == wanted {
                        row.copy_from_slice(answer);
                        found = true;
                    }
                };
                self.compute(&missing, copy, cancel)?;
            }
        }
        Ok(())
    }

    /// Runs the conditioning part for those of at most `count` keys that are still missing, filled up with the last
    /// one; `each` sees them.
    fn compute(&self, keys: &[Key], mut each: impl FnMut(Key, &[f32]), cancel: &CancelToken) -> Result<()> {
        let Some(source) = &self.source else { return Err(self.not_baked(keys)) };
        let mut source = lock_unless(source, || cancel.check())?;
        let keys = self.table().missing(keys.iter().copied());
        let Some(&last) = keys.last() else { return Ok(()) };
        let key = |i: usize| keys.get(i).copied().unwrap_or(last);
        let times: Vec<f32> = (0..self.count).map(|i| f32::from_bits(key(i).time)).collect();
        let classes: Vec<i64> = (0..self.count).map(|i| key(i).class).collect();
        let contexts: Vec<f32> = (0..self.count).flat_map(|i| key(i).context).copied().collect();
        let Source { executable, keep } = &mut *source;
        let mut inputs = vec![Input::F32(&[]); executable.inputs.len()];
        let Ports { time, class, context } = self.ports;
        let given = [
            (Some(time), Input::F32(&times)),
            (class, Input::I64(&classes)),
            (context.map(|context| context.place), Input::F32(&contexts)),
        ];
        for (place, input) in given {
            if let Some(slot) = place.and_then(|place| inputs.get_mut(place)) {
                *slot = input;
            }
        }
        // Seldom needed, and not to be held beside the memory that sampling needs.
        let mut memory = executable.memory()?;
        let answer = executable.run_reading(&mut memory, &inputs, *keep, cancel)?;
        let mut table = self.table();
        for (&key, row) in keys.iter().zip(answer.chunks_exact(self.layout.row)) {
            table.insert(key, row)?;
            each(key, row);
        }
        Ok(())
    }

    /// The error of asking for the first of these keys that is not there.
    fn not_baked(&self, keys: &[Key]) -> Error {
        let table = self.table();
        let missing = keys.iter().find(|&&key| table.find(key).is_none()).or(keys.first());
        let missing = missing.copied().unwrap_or(Key { time: 0, class: 0, context: &[] });
        let mut classes: Vec<i64> = table.pairs.iter().map(|pair| pair.1).collect();
        classes.sort_unstable();
        classes.dedup();
        let Key { time, class, context } = missing;
        if self.ports.class.is_some() && !classes.contains(&class) {
            let listed: Vec<String> = classes.iter().map(i64::to_string).collect();
            let listed = listed.join(", ");
            return unsupported(format!("class {class} was not planned; the plan has the classes {listed}"));
        }
        let same_context = |known: Key| Key { context, ..known } == known;
        if self.ports.context.is_some() && !table.keys().any(same_context) {
            return unsupported(
                "the context was not planned; the plan has that of no prompt (compile it without --classes for others)",
            );
        }
        let time = f32::from_bits(time);
        unsupported(format!(
            "the time {time} was not planned; the plan has the times of the schedules that it was compiled for"
        ))
    }

    /// Leaves room for `most` rows, and forgets those beyond.
    pub fn limit(&self, most: usize) {
        let mut table = self.table();
        (table.most, table.oldest) = (most, 0);
        table.pairs.truncate(most);
        table.rows.truncate(most * self.layout.row);
        let contexts = most.saturating_mul(table.width);
        table.contexts.truncate(contexts);
    }

    /// A panic while the table is locked leaves it whole: pairs and rows go in after the computing.
    fn table(&self) -> MutexGuard<'_, Answers> {
        lock(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Extent, Role, testing::Files};

    #[test]
    fn conditions_of_a_plan_are_where_the_manifest_has_them() {
        let mut files = Files::with_text();
        let contract = |files: &Files, role: Role| {
            let bundle = files.open().unwrap();
            let extent = Extent { batch: 2, cells: [8, 16] };
            Contract::new(bundle.manifest(), role, extent, bundle.limits()).unwrap()
        };
        // A context of tokens is part of the state, a pooled one is a condition; neither is in a file.
        let (state, own) = ports(&contract(&files, Role::Refiner)).unwrap();
        assert_eq!((state, own), (vec![0, 1, 4], Ports { time: 2, class: Some(3), context: None }));
        files.remove("text.tokens");
        let pooled = contract(&files, Role::Refiner);
        let context = Some(ContextPort { place: 4, width: 6 });
        let (state, whole) = ports(&pooled).unwrap();
        assert_eq!((state, whole), (vec![0, 1], Ports { time: 2, class: Some(3), context }));
        assert_eq!(own.completed(&pooled).unwrap(), whole);
        for astray in [Ports { time: 1, ..own }, Ports { class: None, ..own }] {
            let error = astray.completed(&pooled).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidBundle);
            assert_eq!(error.to_string(), "its conditions are not those that the manifest gives the network");
        }
        assert!(own.completed(&contract(&files, Role::Decoder)).is_err());
    }
}
