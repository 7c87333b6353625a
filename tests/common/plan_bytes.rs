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

/// Plans of a model without a decoder whose hashes are right and whose steps are anything, the same each time.
pub fn strange(good: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    // Steps come behind the names of their nodes; most else are floats, which may be any.
    let steps = |index: usize| -> Vec<usize> {
        let (mut steps, mut letters, mut behind) = (Vec::new(), 0, usize::MAX);
        for at in sections(good)[index].clone() {
            let is_letter = good[at].is_ascii_graphic();
            letters = if is_letter { letters + 1 } else { 0 };
            behind = if letters >= 10 { 0 } else { behind.saturating_add(1) };
            if !is_letter && behind < 60 {
                steps.push(at);
            }
        }
        steps
    };
    let places = [steps(2), steps(4)];
    println!("{} and {} places", places[0].len(), places[1].len());
    // A splitmix generator.
    let mut state = 7u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    std::iter::repeat_with(move || {
        let mut plan = good.to_vec();
        let which = (random() % 2) as usize;
        for _ in 0..1 + random() % 3 {
            let at = places[which][(random() as usize) % places[which].len()];
            plan[at] = match random() % 3 {
                0 => random() as u8,
                1 => plan[at].wrapping_add(1),
                _ => 0xff,
            };
        }
        sign_section(&mut plan, 2 + 2 * which);
        plan
    })
}
