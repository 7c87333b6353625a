//! What a network computes of time and class alone: once for each pair, kept in a table.
//!
//! A request's pairs are computed together, so that the weights are read once; the null class's rows, and those
//! of any class that comes again, are there already. Sessions of a model share the table, and networks for
//! several batch sizes too.

use std::sync::{Mutex, MutexGuard};

use super::runner::Runner;
use crate::backend::{Fallback, Footprint, Input, Pace};
use crate::error::runtime;
use crate::graph::{Contract, ElementType};
use crate::lock::lock;
use crate::net;
use crate::{CancelToken, Result};

/// Pairs that are computed at a time: a schedule's worth.
pub(super) const ROWS: usize = 16;

/// Bytes that a table may grow to, unless that is too little for one schedule.
const BYTES: usize = 128 << 20;
/// Pairs that a table holds at most, and at least.
const PAIRS: std::ops::RangeInclusive<usize> = 128..=4096;

/// Where time and class are among the inputs of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    time: usize,
    class: usize,
}

/// The inputs that hold the sampler's state, and those of time and class; none for a network without them.
pub(super) fn ports(contract: &Contract) -> Option<(Vec<usize>, Ports)> {
    let places = |wanted: &dyn Fn(ElementType, usize) -> bool| -> Vec<usize> {
        let ports = contract.inputs.iter().enumerate();
        ports.filter(|(_, port)| wanted(port.element, port.shape.len())).map(|(i, _)| i).collect()
    };
    let time = places(&|element, rank| element == ElementType::F32 && rank == 1);
    let class = places(&|element, rank| element == ElementType::I64 && rank == 1);
    let state = places(&|_, rank| rank > 1);
    match (time.as_slice(), class.as_slice()) {
        (&[time], &[class]) if state.len() + 2 == contract.inputs.len() => {
            Some((state, Ports { time, class }))
        }
        _ => None,
    }
}

/// The conditioning part of a network, and the table of its answers.
pub(super) struct Conditions {
    /// The network's file.
    pub(super) file: String,
    /// Where its answers lie in a row.
    pub(super) layout: net::Table,
    ports: Ports,
    /// Pairs in one run.
    count: usize,
    table: Mutex<Table>,
}

struct Table {
    runner: Runner,
    /// Weights stay in memory between runs.
    keep: bool,
    /// Time, by its bits, and class.
    pairs: Vec<(u32, i64)>,
    rows: Vec<f32>,
    /// Pairs that there is room for.
    most: usize,
    /// The oldest row, once the table is full.
    oldest: usize,
}

impl Table {
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
}

impl Conditions {
    pub(super) fn new(
        file: &str,
        runner: Runner,
        keep: bool,
        ports: Ports,
        count: usize,
        layout: net::Table,
    ) -> Self {
        let most = (BYTES / (4 * layout.row.max(1))).clamp(*PAIRS.start(), *PAIRS.end());
        let table = Table { runner, keep, pairs: Vec::new(), rows: Vec::new(), most, oldest: 0 };
        Self { file: file.to_owned(), layout, ports, count, table: Mutex::new(table) }
    }

    /// Gives the weights up, now and after each time that they are read again.
    pub(super) fn release(&self) {
        let mut table = self.table();
        table.keep = false;
        table.runner.release();
    }

    /// Weights with the table's rows so far; what one run takes for a moment.
    pub(super) fn footprint(&self) -> Footprint {
        let table = self.table();
        let Footprint { weights, instance, .. } = table.runner.footprint();
        let rows = size_of::<f32>() * table.rows.capacity();
        Footprint { weights: weights + rows, instance: 0, passing: instance }
    }

    /// The operations of the part that tract runs.
    pub(super) fn fallbacks(&self) -> Vec<Fallback> {
        self.table().runner.fallbacks().collect()
    }

    pub(super) fn describe(&self) -> String {
        format!("{} at a time: {}", self.count, self.table().runner.describe())
    }

    /// Computes what is not in the table yet, as far as there is room: the rest when its turn comes.
    pub(super) fn prepare(&self, wanted: &[(f32, i64)], cancel: &CancelToken) -> Result<()> {
        let mut table = self.table();
        let mut missing = table.missing(wanted.iter().map(|&(time, class)| (time.to_bits(), class)));
        missing.truncate(table.most);
        missing.chunks(self.count).try_for_each(|pairs| self.compute(&mut table, pairs, cancel))
    }

    /// Writes the row of each image's time and class, one after another.
    pub(super) fn fill(&self, inputs: &[Input], given: &mut [f32], cancel: &CancelToken) -> Result<()> {
        let (Some(Input::F32(times)), Some(Input::I64(classes))) =
            (inputs.get(self.ports.time), inputs.get(self.ports.class))
        else {
            return Err(runtime("time and class are missing among the inputs"));
        };
        let mut table = self.table();
        let pairs = || times.iter().zip(*classes).map(|(time, &class)| (time.to_bits(), class));
        for ((i, pair), row) in pairs().enumerate().zip(given.chunks_exact_mut(self.layout.row)) {
            if !table.pairs.contains(&pair) {
                let mut missing = table.missing(pairs().skip(i));
                missing.truncate(self.count.min(table.most));
                self.compute(&mut table, &missing, cancel)?;
            }
            let at = table.pairs.iter().position(|known| *known == pair);
            let at = at.ok_or_else(|| runtime("a condition was not kept"))?;
            row.copy_from_slice(&table.rows[at * row.len()..][..row.len()]);
        }
        Ok(())
    }

    /// Runs the conditioning part for at most `count` pairs, filled up with the last one.
    fn compute(&self, table: &mut Table, pairs: &[(u32, i64)], cancel: &CancelToken) -> Result<()> {
        let Some(&last) = pairs.last() else { return Ok(()) };
        let pair = |i: usize| pairs.get(i).copied().unwrap_or(last);
        let times: Vec<f32> = (0..self.count).map(|i| f32::from_bits(pair(i).0)).collect();
        let classes: Vec<i64> = (0..self.count).map(|i| pair(i).1).collect();
        let mut inputs = vec![Input::F32(&[]); table.runner.lowered.inputs.len()];
        for (place, input) in
            [(self.ports.time, Input::F32(&times)), (self.ports.class, Input::I64(&classes))]
        {
            if let Some(slot) = inputs.get_mut(place) {
                *slot = input;
            }
        }
        let Table { runner, keep, pairs: known, rows, most, oldest } = table;
        // Seldom needed, and not to be held beside the memory that sampling needs.
        let mut memory = runner.memory();
        let answer = runner.run_reading(&mut memory, &inputs, *keep, Pace::to_the_end(cancel))?;
        let len = self.layout.row;
        for (pair, row) in pairs.iter().zip(answer.chunks_exact(len)) {
            if known.len() < *most {
                known.push(*pair);
                rows.extend_from_slice(row);
            } else {
                known[*oldest] = *pair;
                rows[*oldest * len..][..len].copy_from_slice(row);
                *oldest = (*oldest + 1) % *most;
            }
        }
        Ok(())
    }

    /// Leaves room for `most` rows, and forgets those beyond.
    #[cfg(test)]
    pub(super) fn limit(&self, most: usize) {
        let mut table = self.table();
        (table.most, table.oldest) = (most, 0);
        table.pairs.truncate(most);
        table.rows.truncate(most * self.layout.row);
    }

    /// A panic while the table is locked leaves it whole: pairs and rows go in after the computing.
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}
