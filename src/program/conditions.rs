//! What a network computes of time and class alone: once for each pair, kept in a table.
//!
//! A request's pairs are computed together, so that the weights are read once; the null class's rows, and those
//! of any class that comes again, are there already. Sessions of a model share the table, and networks for
//! several batch sizes too.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::runner::{Memory, Runner};
use crate::Result;
use crate::backend::{Fallback, Input};
use crate::error::runtime;
use crate::graph::{Contract, ElementType};
use crate::net;

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
    memory: Memory,
    /// Time, by its bits, and class.
    pairs: Vec<(u32, i64)>,
    rows: Vec<f32>,
    /// The oldest row, once the table is full.
    oldest: usize,
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
        let memory = runner.memory();
        let table = Table { runner, keep, memory, pairs: Vec::new(), rows: Vec::new(), oldest: 0 };
        Self { file: file.to_owned(), layout, ports, count, table: Mutex::new(table) }
    }

    /// Gives the weights up, now and after each time that they are read again.
    pub(super) fn release(&self) {
        let mut table = self.table();
        table.keep = false;
        table.runner.release();
    }

    /// The operations of the part that tract runs.
    pub(super) fn fallbacks(&self) -> Vec<Fallback> {
        self.table().runner.fallbacks().collect()
    }

    pub(super) fn describe(&self) -> String {
        format!("{} at a time: {}", self.count, self.table().runner.describe())
    }

    /// Computes what is not in the table yet.
    pub(super) fn prepare(&self, wanted: &[(f32, i64)]) -> Result<()> {
        let mut table = self.table();
        let mut missing: Vec<(u32, i64)> = Vec::new();
        for &(time, class) in wanted {
            let pair = (time.to_bits(), class);
            if !table.pairs.contains(&pair) && !missing.contains(&pair) {
                missing.push(pair);
            }
        }
        missing.chunks(self.count).try_for_each(|pairs| self.compute(&mut table, pairs))
    }

    /// Writes the row of each image's time and class, one after another.
    pub(super) fn fill(&self, inputs: &[Input], given: &mut [f32]) -> Result<()> {
        let (Some(Input::F32(times)), Some(Input::I64(classes))) =
            (inputs.get(self.ports.time), inputs.get(self.ports.class))
        else {
            return Err(runtime("time and class are missing among the inputs"));
        };
        let mut table = self.table();
        for ((&time, &class), row) in times.iter().zip(*classes).zip(given.chunks_exact_mut(self.layout.row))
        {
            let pair = (time.to_bits(), class);
            let find = |table: &Table| table.pairs.iter().position(|known| *known == pair);
            let at = match find(&table) {
                Some(at) => at,
                None => {
                    self.compute(&mut table, &[pair])?;
                    find(&table).ok_or_else(|| runtime("a condition was not kept"))?
                }
            };
            row.copy_from_slice(&table.rows[at * row.len()..][..row.len()]);
        }
        Ok(())
    }

    /// Runs the conditioning part for at most `count` pairs, filled up with the last one.
    fn compute(&self, table: &mut Table, pairs: &[(u32, i64)]) -> Result<()> {
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
        let Table { runner, keep, memory, pairs: known, rows, oldest } = table;
        let answer = runner.run_reading(memory, &inputs, *keep)?;
        let len = self.layout.row;
        let most = (BYTES / (4 * len)).clamp(*PAIRS.start(), *PAIRS.end());
        for (pair, row) in pairs.iter().zip(answer.chunks_exact(len)) {
            if known.len() < most {
                known.push(*pair);
                rows.extend_from_slice(row);
            } else {
                known[*oldest] = *pair;
                rows[*oldest * len..][..len].copy_from_slice(row);
                *oldest = (*oldest + 1) % most;
            }
        }
        Ok(())
    }

    /// A panic while the table is locked leaves it whole: pairs and rows go in after the computing.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
