//! The bytes of a plan file as docs/plan.md has them, read and signed by nothing of the library's.

use std::ops::Range;

use sha2::{Digest, Sha256};

pub const FOOTER: usize = 64;
pub const ENTRY: usize = 64;

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Where the table is.
pub fn table(plan: &[u8]) -> Range<usize> {
    long(plan, plan.len() - FOOTER + 16) as usize..plan.len() - FOOTER
}

/// Where each section is.
pub fn sections(plan: &[u8]) -> Vec<Range<usize>> {
    let entries = plan[table(plan)].chunks_exact(ENTRY);
    entries.map(|entry| long(entry, 8) as usize..(long(entry, 8) + long(entry, 16)) as usize).collect()
}

/// Gives header, table and footer the hash that they should have.
pub fn sign(plan: &mut [u8]) {
    let (table, footer) = (table(plan), plan.len() - FOOTER);
    let hash = sha256(&[&plan[..16], &plan[table], &plan[footer..footer + 32]].concat());
    plan[footer + 32..].copy_from_slice(&hash);
}

/// Gives a section the hash that it should have, and then the rest.
pub fn sign_section(plan: &mut [u8], index: usize) {
    let bytes = &plan[sections(plan)[index].clone()];
    let pieces: Vec<u8> = bytes.chunks(1 << 20).flat_map(sha256).collect();
    let at = table(plan).start + index * ENTRY + 32;
    plan[at..at + 32].copy_from_slice(&sha256(&pieces));
    sign(plan);
}
