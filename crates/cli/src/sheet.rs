//! Many images on one: a contact sheet.

use crate::failure::Failure;
use crate::maps::Drawn;

/// Pixels between two images.
const GAP: usize = 4;

/// Every byte of what shows in the gaps and in empty places, in any format.
const WHITE: u8 = 255;

/// The most columns that are chosen unasked.
const MOST_COLUMNS: usize = 16;

/// The columns for `classes` classes of `of_each` images: about square for one class, else a row a class. Images
/// that lead from one to another, in a row too.
pub fn columns(classes: usize, of_each: usize, lead: bool) -> usize {
    match classes {
        1 if !lead => (1..of_each).find(|columns| columns * columns >= of_each).unwrap_or(of_each),
        _ => of_each.min(MOST_COLUMNS),
    }
}

/// Lays images out in rows of `columns`, a new row after each `of_each` of them. Fails if there is no memory for it.
pub fn compose(drawn: &Drawn, of_each: usize, columns: usize) -> Result<Drawn, Failure> {
    let (of_each, columns) = (of_each.max(1), columns.clamp(1, of_each.max(1)));
    let (cell_width, cell_height, pixel) = (drawn.width, drawn.height, drawn.format.bytes());
    let images: Vec<&[u8]> = drawn.images().collect();
    let rows: Vec<&[&[u8]]> = images.chunks(of_each).flat_map(|class| class.chunks(columns)).collect();
    let extent = |count: usize, cell: usize| (count * (cell + GAP)).saturating_sub(GAP);
    let (width, height) = (extent(columns, cell_width), extent(rows.len(), cell_height));
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(width * height * pixel).map_err(|_| {
        let message =
            format!("a sheet of {width} x {height} pixels: there is no memory for it; take --separate");
        Failure::Failed(message)
    })?;
    let (line, cell) = (width * pixel, cell_width * pixel);
    for row in rows {
        if !bytes.is_empty() {
            bytes.resize(bytes.len() + GAP * line, WHITE);
        }
        for y in 0..cell_height {
            let end = bytes.len() + line;
            for (column, image) in row.iter().enumerate() {
                if column > 0 {
                    bytes.resize(bytes.len() + GAP * pixel, WHITE);
                }
                bytes.extend(image.iter().skip(y * cell).take(cell));
            }
            bytes.resize(end, WHITE);
        }
    }
    Ok(Drawn { format: drawn.format, width, height, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowturbo::PixelFormat;

    /// `count` images of one pixel, black, then grey, then white.
    fn images(format: PixelFormat, count: usize) -> Drawn {
        let bytes = [0, 128, 255].iter().take(count).flat_map(|&level| vec![level; format.bytes()]).collect();
        Drawn { format, width: 1, height: 1, bytes }
    }

    #[test]
    fn one_image_is_its_own_sheet() {
        let sheet = compose(&images(PixelFormat::Rgb8, 1), 1, 1).unwrap();
        assert_eq!((sheet.width, sheet.height, sheet.bytes), (1, 1, vec![0; 3]));
    }

    #[test]
    fn each_class_starts_a_row_and_empty_places_are_white() {
        for format in [PixelFormat::Rgb8, PixelFormat::Rgba8, PixelFormat::Grey8, PixelFormat::Grey16] {
            let sheet = compose(&images(format, 3), 2, 2).unwrap();
            assert_eq!((sheet.width, sheet.height, sheet.format), (2 + GAP, 2 + GAP, format));
            let pixel = |x: usize, y: usize| sheet.bytes[(y * sheet.width + x) * format.bytes()];
            let last = 1 + GAP;
            let corners = (pixel(0, 0), pixel(last, 0), pixel(0, last), pixel(last, last));
            assert_eq!(corners, (0, 128, 255, 255), "{format}");
            assert_eq!((pixel(1, 0), pixel(0, 1)), (WHITE, WHITE));
            assert_eq!(sheet.bytes.len(), sheet.width * sheet.height * format.bytes());
        }
        let wide = 1 << (usize::BITS - 6);
        assert!(compose(&images(PixelFormat::Rgb8, 1), wide, wide).is_err(), "more than any memory");
    }

    #[test]
    fn columns_are_about_square_for_one_class_and_a_row_for_more() {
        for (classes, of_each, expected) in
            [(1, 1, 1), (1, 2, 2), (1, 4, 2), (1, 5, 3), (1, 64, 8), (3, 4, 4), (2, 64, 16)]
        {
            assert_eq!(columns(classes, of_each, false), expected, "{classes} classes of {of_each}");
        }
        assert_eq!([1, 5, 64].map(|of_each| columns(1, of_each, true)), [1, 5, 16]);
    }
}
