//! Memory for many floats, on cache lines; on large pages where that helps.
//!
//! A product reads rows of activations that are some kilobytes apart, each on another small page: large
//! pages made SiT-XL 2 to 3 % faster. Weights stay on small ones: they are read from end to end, so nothing
//! was gained, and under a hypervisor that lends memory by large pages loading took half as long again.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use memmap2::{Mmap, MmapMut, MmapOptions};

use crate::{Result, memory};

/// Zeros at first; starts on a cache line.
pub struct Floats {
    held: Held,
    /// Where the first cache line starts, in floats.
    start: usize,
    len: usize,
}

enum Held {
    Heap(Vec<f32>),
    Pages(MmapMut),
}

/// Floats of a cache line.
pub const LINE: usize = 16;
/// Bytes of a large page.
const PAGE: usize = 2 << 20;
/// Bytes from which on memory comes from the system itself, to which it goes back at once: an allocator may
/// keep what is freed between other things.
const APART: usize = if cfg!(miri) { 1 << 12 } else { 1 << 20 };

impl Floats {
    /// None, without an allocation.
    pub fn none() -> Self {
        Self { held: Held::Heap(Vec::new()), start: 0, len: 0 }
    }

    /// # Errors
    /// `OutOfMemory`.
    pub fn zeros(len: usize) -> Result<Self> {
        if let Some(floats) = Self::large(len, APART) {
            return Ok(floats);
        }
        let room = memory::filled(len.saturating_add(LINE - 1), 0.0f32)?;
        let start = room.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        Ok(Self { held: Held::Heap(room), start, len })
    }

    /// As [`zeros`](Self::zeros), on large pages if they are many enough and the system has them.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn on_large_pages(len: usize) -> Result<Self> {
        let Some(floats) = Self::large(len, 2 * PAGE) else { return Self::zeros(len) };
        // Miri has none.
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Held::Pages(pages) = &floats.held {
            // Without large pages all goes on as well, more slowly.
            let _ = pages.advise(memmap2::Advice::HugePage);
        }
        Ok(floats)
    }

    /// Pages of its own for what takes at least `bytes`, if the system gives them.
    fn large(len: usize, bytes: usize) -> Option<Self> {
        let wanted = len.checked_mul(size_of::<f32>()).filter(|&wanted| wanted >= bytes)?;
        let pages = MmapMut::map_anon(wanted).ok()?;
        memory::spare().ok()?;
        Some(Self { held: Held::Pages(pages), start: 0, len })
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.held {
            Held::Heap(room) => &room[self.start..][..self.len],
            // SAFETY: the pages hold at least `len` floats, start on a page, and any bits are a float.
            Held::Pages(pages) => unsafe { std::slice::from_raw_parts(pages.as_ptr().cast(), self.len) },
        }
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.held {
            Held::Heap(room) => &mut room[self.start..][..self.len],
            // SAFETY: as above, and nobody else has the pages.
            Held::Pages(pages) => unsafe {
                std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), self.len)
            },
        }
    }
}

/// Floats of a file that is mapped into memory: read only, and shared with every process that maps it.
pub struct MappedFloats {
    file: Arc<Mmap>,
    /// Bytes.
    start: usize,
    len: usize,
}

/// The first `len` bytes of `file`, mapped into memory to be read.
///
/// They must stay as they are: what another process changes shows, and where the file is cut short meanwhile, the
/// system ends whoever looks at what is gone (SIGBUS).
///
/// # Errors
/// The system refuses.
pub fn map(file: &File, len: u64) -> io::Result<Arc<Mmap>> {
    let len = usize::try_from(len).map_err(|_| io::Error::other("is larger than this machine's memory"))?;
    // SAFETY: nothing here writes to the file, and docs/plan.md asks the same of others while a plan is open. Any bytes
    // are floats, so what a change does is other numbers.
    unsafe { MmapOptions::new().len(len).map(file) }.map(Arc::new)
}

impl MappedFloats {
    /// The floats in `bytes` of `file`; none unless they lie inside of it, start on a cache line and are whole, or
    /// where a float's bytes have another order than in the file, the smallest first.
    pub fn new(file: &Arc<Mmap>, bytes: Range<usize>) -> Option<Self> {
        let len = file.get(bytes.clone())?.len();
        let whole =
            bytes.start.is_multiple_of(LINE * size_of::<f32>()) && len.is_multiple_of(size_of::<f32>());
        let file = Arc::clone(file);
        (whole && cfg!(target_endian = "little")).then_some(Self {
            file,
            start: bytes.start,
            len: len / size_of::<f32>(),
        })
    }
}

impl Deref for MappedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `new` saw that the bytes lie inside the map, which starts on a page, at a whole number of floats; any
        // bits are a float.
        unsafe { std::slice::from_raw_parts(self.file.as_ptr().add(self.start).cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::in_time;
    use super::*;

    #[test]
    fn floats_are_zeros_on_a_cache_line_however_many_there_are() {
        for len in [0, 1, 17, 1000, APART / 4 + 5, PAGE / 2, PAGE + 3] {
            if !in_time(len) {
                continue;
            }
            for mut floats in [Floats::zeros(len).unwrap(), Floats::on_large_pages(len).unwrap()] {
                assert!(floats.len() == len && floats.iter().all(|x| *x == 0.0));
                assert!(floats.as_ptr().addr().is_multiple_of(64));
                floats.fill(1.5);
                assert!(floats.iter().all(|x| *x == 1.5));
            }
        }
        assert!(Floats::none().is_empty());
    }

    #[test]
    fn floats_of_a_map_lie_inside_of_it_and_on_cache_lines() {
        let mut map = MmapMut::map_anon(256).unwrap();
        map[64..68].copy_from_slice(&1.5f32.to_le_bytes());
        let map = Arc::new(map.make_read_only().unwrap());
        assert_eq!(MappedFloats::new(&map, 64..256).unwrap()[..2], [1.5, 0.0]);
        for bytes in [60..128, 0..260, 64..70, 320..384, 64..usize::MAX] {
            assert!(MappedFloats::new(&map, bytes.clone()).is_none(), "{bytes:?}");
        }
    }

    #[cfg_attr(miri, ignore = "Miri ends when memory is refused")]
    #[test]
    fn memory_that_nobody_has_is_refused() {
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4] {
            for floats in [Floats::zeros(len), Floats::on_large_pages(len)] {
                assert_eq!(floats.err().unwrap().kind(), crate::ErrorKind::OutOfMemory);
            }
        }
    }
}
