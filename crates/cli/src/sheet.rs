//! Many images on one: a contact sheet.

use flowturbo::Image;

use crate::failure::Failure;

/// Pixels between two images.
const GAP: usize = 4;

/// What shows in the gaps and in empty places.
const WHITE: u8 = 255;

/// The most columns that are chosen unasked.
const MOST_COLUMNS: usize = 16;

/// A sheet, 8-bit RGB.
pub struct Sheet {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

/// The columns for `classes` classes of `of_each` images: about square for one class, else a row a class. Images
/// that lead from one to another, in a row too.
pub fn columns(classes: usize, of_each: usize, lead: bool) -> usize {
    match classes {
        1 if !lead => (1..of_each).find(|columns| columns * columns >= of_each).unwrap_or(of_each),
        _ => of_each.min(MOST_COLUMNS),
    }
}

/// Lays `images` out in rows of `columns`, a new row after each `of_each` of them. Fails if there is no memory for it.
pub fn compose(images: &[Image], of_each: usize, columns: usize) -> Result<Sheet, Failure> {
    let (of_each, columns) = (of_each.max(1), columns.clamp(1, of_each.max(1)));
    let (cell_width, cell_height) = images.first().map_or((0, 0), |image| (image.width, image.height));
    let rows: Vec<&[Image]> = images.chunks(of_each).flat_map(|class| class.chunks(columns)).collect();
    let extent = |count: usize, cell: usize| (count * (cell + GAP)).saturating_sub(GAP);
    let (width, height) = (extent(columns, cell_width), extent(rows.len(), cell_height));
    let mut rgb = Vec::new();
    rgb.try_reserve_exact(width * height * 3).map_err(|_| {
        let message =
            format!("a sheet of {width} x {height} pixels: there is no memory for it; take --separate");
        Failure::Failed(message)
    })?;
    for row in rows {
        if !rgb.is_empty() {
            rgb.resize(rgb.len() + GAP * width * 3, WHITE);
        }
        for y in 0..cell_height {
            let end = rgb.len() + width * 3;
            for (column, image) in row.iter().enumerate() {
                if column > 0 {
                    rgb.resize(rgb.len() + GAP * 3, WHITE);
                }
                rgb.extend(image.rgb.iter().skip(y * cell_width * 3).take(cell_width * 3));
            }
            rgb.resize(end, WHITE);
        }
    }
    Ok(Sheet { width, height, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array4;

    /// `count` images of one pixel, black, then grey, then white.
    fn images(count: usize) -> Vec<Image> {
        let values = Array4::from_shape_fn([count, 3, 1, 1], |(i, ..)| i as f32 - 1.0);
        flowturbo::to_pixels(values.view()).unwrap()
    }

    #[test]
    fn one_image_is_its_own_sheet() {
        let sheet = compose(&images(1), 1, 1).unwrap();
        assert_eq!((sheet.width, sheet.height, sheet.rgb), (1, 1, vec![0; 3]));
    }

    #[test]
    fn each_class_starts_a_row_and_empty_places_are_white() {
        let sheet = compose(&images(3), 2, 2).unwrap();
        assert_eq!((sheet.width, sheet.height), (2 + GAP, 2 + GAP));
        let pixel = |x: usize, y: usize| sheet.rgb[(y * sheet.width + x) * 3];
        let last = 1 + GAP;
        assert_eq!((pixel(0, 0), pixel(last, 0), pixel(0, last), pixel(last, last)), (0, 128, 255, 255));
        assert_eq!((pixel(1, 0), pixel(0, 1)), (WHITE, WHITE));
        assert_eq!(sheet.rgb.len(), sheet.width * sheet.height * 3);
        let wide = 1 << (usize::BITS - 6);
        assert!(compose(&images(1), wide, wide).is_err(), "more than any memory");
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
