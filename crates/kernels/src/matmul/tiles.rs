//! Rows in tiles. They are kept by group and cut when they are wanted: an image of 4096 by 4096 pixels has a
//! million tiles, and making a list of them would take longer than everything else that planning does.

use std::ops::Range;

use super::Group;

/// Groups of rows, each cut into tiles of at most so many rows.
pub(super) struct Tiles {
    groups: Vec<Group>,
    /// The number of each group's first tile; in the end of all tiles.
    first: Vec<usize>,
    most: usize,
    a_stride: usize,
    c_stride: usize,
}

impl Tiles {
    pub(super) fn new(groups: &[Group], most: usize, a_stride: usize, c_stride: usize) -> Self {
        let groups: Vec<Group> = groups.iter().copied().filter(|group| group.rows > 0).collect();
        let mut first = Vec::with_capacity(groups.len() + 1);
        first.push(0);
        let mut tiles = 0;
        first.extend(groups.iter().map(|group| {
            tiles += group.rows.div_ceil(most);
            tiles
        }));
        Self { groups, first, most, a_stride, c_stride }
    }

    /// Groups that have rows.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn len(&self) -> usize {
        self.first.last().copied().unwrap_or(0)
    }

    pub(super) fn get(&self, tile: usize) -> Group {
        let group = self.first.partition_point(|&first| first <= tile) - 1;
        let (rows, number) = (self.groups[group].rows, tile - self.first[group]);
        let count = rows.div_ceil(self.most);
        self.cut(group, rows * number / count..rows * (number + 1) / count)
    }

    /// The tiles of these numbers, in order, divided once for groups of one size.
    #[inline]
    pub(super) fn range(&self, tiles: Range<usize>) -> impl Iterator<Item = Group> {
        let mut group = self.first.partition_point(|&first| first <= tiles.start).saturating_sub(1);
        let mut within = Within::new(self.groups.get(group), self.most);
        within.skip(tiles.start - self.first[group].min(tiles.start));
        tiles.map(move |_| {
            if within.from == within.rows {
                group += 1;
                within.restart(self.groups.get(group), self.most);
            }
            self.cut(group, within.next())
        })
    }

    /// Some rows of a group.
    #[inline]
    fn cut(&self, group: usize, rows: Range<usize>) -> Group {
        let of = &self.groups[group];
        Group {
            a: of.a + rows.start * self.a_stride,
            c: of.c + rows.start * self.c_stride,
            row: of.row + rows.start,
            rows: rows.end - rows.start,
            image: of.image,
        }
    }
}

/// Cuts the rows of one group: tile `i` of `count` goes from `rows i / count` to `rows (i + 1) / count`.
struct Within {
    rows: usize,
    count: usize,
    /// `rows / count`, and what that leaves.
    each: usize,
    left: usize,
    /// Where the next tile starts, and the remainder of that division.
    from: usize,
    carried: usize,
}

impl Within {
    fn new(group: Option<&Group>, most: usize) -> Self {
        let rows = group.map_or(0, |group| group.rows);
        let count = rows.div_ceil(most).max(1);
        Self { rows, count, each: rows / count, left: rows % count, from: 0, carried: 0 }
    }

    /// Begins another group: mostly one like the last, for which nothing is divided.
    #[inline]
    fn restart(&mut self, group: Option<&Group>, most: usize) {
        if group.is_some_and(|group| group.rows == self.rows) {
            (self.from, self.carried) = (0, 0);
        } else {
            *self = Self::new(group, most);
        }
    }

    /// Goes on to tile `number`.
    fn skip(&mut self, number: usize) {
        (self.from, self.carried) = (self.rows * number / self.count, self.rows * number % self.count);
    }

    #[inline]
    fn next(&mut self) -> Range<usize> {
        let from = self.from;
        self.carried += self.left;
        let more = self.carried >= self.count;
        if more {
            self.carried -= self.count;
        }
        self.from += self.each + usize::from(more);
        from..self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_come_one_by_one_and_in_ranges_as_the_groups_are_cut() {
        let group = |row: usize, rows| Group { a: 3 + row * 7, c: 5 + row * 11, row, rows, image: row };
        let groups = [group(0, 29), group(29, 0), group(29, 1), group(30, 14), group(44, 1000)];
        for most in [1, 6, 14] {
            let tiles = Tiles::new(&groups, most, 7, 11);
            let mut listed = Vec::new();
            for group in groups.iter().filter(|group| group.rows > 0) {
                let count = group.rows.div_ceil(most);
                for i in 0..count {
                    let (from, to) = (group.rows * i / count, group.rows * (i + 1) / count);
                    listed.push(Group {
                        a: group.a + from * 7,
                        c: group.c + from * 11,
                        row: group.row + from,
                        rows: to - from,
                        image: group.image,
                    });
                }
            }
            assert_eq!(tiles.len(), listed.len());
            for start in 0..=listed.len() {
                for end in [start, start + 1, start + 5, listed.len()] {
                    let end = end.clamp(start, listed.len());
                    assert!(tiles.range(start..end).eq(listed[start..end].iter().copied()), "{start} {end}");
                }
            }
            assert!((0..tiles.len()).all(|i| tiles.get(i) == listed[i]));
        }
    }

    #[test]
    fn no_rows_are_no_tiles() {
        let tiles = Tiles::new(&[], 14, 1, 1);
        assert_eq!((tiles.len(), tiles.range(0..0).count()), (0, 0));
    }
}
