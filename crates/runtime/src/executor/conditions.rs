//! What a network computes of time and class alone: once for each pair, kept in a table.
//!
//! A request's pairs are computed together, so that the weights are read once; the null class's rows, and those
//! of any class that comes again, are there already. Sessions of a model share the table, and networks for
//! several batch sizes too.

use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::Executable;
use crate::backend::{Fallback, Footprint, Input};
use crate::contract::{Contract, PortRole};
use crate::error::{invalid_bundle, runtime, unsupported};
use crate::lock::{lock, lock_unless};
use crate::memory::refused;
use crate::plan::{Row, RowLayout};
use crate::{CancelToken, Error, Result, memory};

/// Pairs that are computed at a time: a schedule's worth.
pub const ROWS: usize = 16;

/// Bytes that a table may grow to, unless that is too little for one schedule.
const BYTES: usize = 128 << 20;
/// Pairs that a table holds at most, and at least.
const PAIRS: std::ops::RangeInclusive<usize> = 128..=4096;

/// Where time and class are among the inputs of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    time: usize,
    /// None for a network of one class: all its pairs have class 0.
    class: Option<usize>,
}

/// The inputs that time and class say nothing of, and those two; none for a network without a time.
pub fn ports(contract: &Contract) -> Option<(Vec<usize>, Ports)> {
    let place = |role: PortRole| contract.inputs.iter().position(|port| port.role == role);
    let ports = Ports { time: place(PortRole::Time)?, class: place(PortRole::Class) };
    let state = (0..contract.inputs.len()).filter(|&i| i != ports.time && Some(i) != ports.class);
    Some((state.collect(), ports))
}

/// The conditioning part of a network, and the table of its answers.
pub struct Conditions {
    /// The network's file.
    pub file: String,
    /// Where its answers lie in a row.
    pub layout: RowLayout,
    ports: Ports,
    /// Pairs in one run.
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
    rows: Vec<f32>,
    /// Pairs that there is room for.
    most: usize,
    /// The oldest row, once the table is full.
    oldest: usize,
}

impl Answers {
    /// Those of `pairs` that are not known, each once.
    fn missing(&self, pairs: impl Iterator<Item = (u32, i64)>) -> Vec<(u32, i64)> {
        let mut missing = Vec::new();
        for pair in pairs {
            if !self.pairs.contains(&pair) && !missing.contains(&pair) {
                missing.push(pair);
            }
        }
        missing
    }

    /// # Errors
    /// `OutOfMemory`.
    fn insert(&mut self, pair: (u32, i64), row: &[f32]) -> Result<()> {
        if self.pairs.contains(&pair) {
            return Ok(());
        }
        if self.pairs.len() < self.most {
            let wanted = size_of_val(row) as u64;
            self.rows.try_reserve(row.len()).map_err(|_| refused(wanted))?;
            self.pairs.push(pair);
            self.rows.extend_from_slice(row);
        } else {
            self.pairs[self.oldest] = pair;
            self.rows[self.oldest * row.len()..][..row.len()].copy_from_slice(row);
            self.oldest = (self.oldest + 1) % self.most;
        }
        Ok(())
    }
}

impl Conditions {
    /// Rows that `executable` computes; with `keep`, its weights stay in memory.
    pub fn new(file: &str, executable: Executable, keep: bool, ports: Ports, layout: RowLayout) -> Self {
        let most = (BYTES / (4 * layout.row.max(1))).clamp(*PAIRS.start(), *PAIRS.end());
        let table = Answers { pairs: Vec::new(), rows: Vec::new(), most, oldest: 0 };
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
        let mut table = Answers { pairs: Vec::new(), rows: Vec::new(), most: baked.len(), oldest: 0 };
        memory::reserve(&mut table.rows, baked.len().saturating_mul(layout.row))?;
        for Row { time, class, floats } in baked {
            if floats.len() != layout.row {
                return Err(invalid_bundle("a row of conditions has another length than its layout"));
            }
            table.insert((time.to_bits(), *class), floats)?;
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
        let known = table.pairs.iter().zip(rows);
        known
            .map(|(&(time, class), row)| {
                let floats = memory::collected(row.len(), row.iter().copied())?;
                Ok(Row { time: f32::from_bits(time), class, floats })
            })
            .collect()
    }

    /// Where time and class are among the network's inputs.
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
        let rows = size_of::<f32>() * self.table().rows.capacity();
        Footprint { weights: weights + rows, instance: 0, passing: instance }
    }

    /// Pairs that are computed at once, and those that there is room for.
    pub fn room(&self) -> (usize, usize) {
        (self.count, self.table().most)
    }

    pub fn describe(&self) -> String {
        match &self.source {
            Some(source) => format!("{} at a time: {}", self.count, lock(source).executable.describe()),
            None => format!("baked: {} rows\n", self.table().pairs.len()),
        }
    }

    /// Computes what is not in the table yet, as far as there is room: the rest when its turn comes.
    pub fn prepare(&self, wanted: &[(f32, i64)], cancel: &CancelToken) -> Result<()> {
        let (mut missing, most) = {
            let table = self.table();
            let classed = self.ports.class.is_some();
            let pair = |&(time, class): &(f32, i64)| (time.to_bits(), if classed { class } else { 0 });
            (table.missing(wanted.iter().map(pair)), table.most)
        };
        missing.truncate(most);
        missing.chunks(self.count).try_for_each(|pairs| self.compute(pairs, |_, _| {}, cancel))
    }

    /// Writes the row of each image's time and class, one after another.
    pub fn fill(&self, inputs: &[Input], given: &mut [f32], cancel: &CancelToken) -> Result<()> {
        let (times, classes) = match (inputs.get(self.ports.time), self.ports.class.map(|at| inputs.get(at)))
        {
            (Some(Input::F32(times)), None) => (times, None),
            (Some(Input::F32(times)), Some(Some(Input::I64(classes)))) => (times, Some(classes)),
            _ => return Err(runtime("time and class are missing among the inputs")),
        };
        let class = |i: usize| classes.map_or(Some(0), |classes| classes.get(i).copied());
        let pair = |i: usize| Some((times.get(i)?.to_bits(), class(i)?));
        for (i, row) in given.chunks_exact_mut(self.layout.row).enumerate() {
            let Some(wanted) = pair(i) else { break };
            let known = |table: &Answers, row: &mut [f32]| {
                let at = table.pairs.iter().position(|known| *known == wanted);
                at.map(|at| row.copy_from_slice(&table.rows[at * row.len()..][..row.len()])).is_some()
            };
            let mut found = false;
            // Another session may be quicker, and in a small table others may take the row's place again.
            while !found && !known(&self.table(), row) {
                let mut missing = self.table().missing((i..).map_while(pair));
                missing.truncate(self.count);
                let copy = |computed: (u32, i64), answer: &[f32]| {
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

    /// Runs the conditioning part for those of at most `count` pairs that are still missing, filled up with the last
    /// one; `each` sees them.
    fn compute(
        &self,
        pairs: &[(u32, i64)],
        mut each: impl FnMut((u32, i64), &[f32]),
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(source) = &self.source else { return Err(self.not_baked(pairs)) };
        let mut source = lock_unless(source, || cancel.check())?;
        let pairs = self.table().missing(pairs.iter().copied());
        let Some(&last) = pairs.last() else { return Ok(()) };
        let pair = |i: usize| pairs.get(i).copied().unwrap_or(last);
        let times: Vec<f32> = (0..self.count).map(|i| f32::from_bits(pair(i).0)).collect();
        let classes: Vec<i64> = (0..self.count).map(|i| pair(i).1).collect();
        let Source { executable, keep } = &mut *source;
        let mut inputs = vec![Input::F32(&[]); executable.inputs.len()];
        let given = [(Some(self.ports.time), Input::F32(&times)), (self.ports.class, Input::I64(&classes))];
        for (place, input) in given {
            if let Some(slot) = place.and_then(|place| inputs.get_mut(place)) {
                *slot = input;
            }
        }
        // Seldom needed, and not to be held beside the memory that sampling needs.
        let mut memory = executable.memory()?;
        let answer = executable.run_reading(&mut memory, &inputs, *keep, cancel)?;
        let mut table = self.table();
        for (&pair, row) in pairs.iter().zip(answer.chunks_exact(self.layout.row)) {
            table.insert(pair, row)?;
            each(pair, row);
        }
        Ok(())
    }

    /// The error of asking for the first of these pairs that is not there.
    fn not_baked(&self, pairs: &[(u32, i64)]) -> Error {
        let table = self.table();
        let missing = pairs.iter().find(|pair| !table.pairs.contains(pair)).or(pairs.first());
        let (time, class) = missing.copied().unwrap_or_default();
        let mut classes: Vec<i64> = table.pairs.iter().map(|pair| pair.1).collect();
        classes.sort_unstable();
        classes.dedup();
        if self.ports.class.is_some() && !classes.contains(&class) {
            let listed: Vec<String> = classes.iter().map(i64::to_string).collect();
            let listed = listed.join(", ");
            return unsupported(format!("class {class} was not planned; the plan has the classes {listed}"));
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
    }

    /// A panic while the table is locked leaves it whole: pairs and rows go in after the computing.
    fn table(&self) -> MutexGuard<'_, Answers> {
        lock(&self.table)
    }
}
