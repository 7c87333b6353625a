//! The header of a NumPy file, held to the file before anything trusts it.
//!
//! It is a dictionary in Python's words of any depth and a shape of any size; readers that take it as it is run out of
//! stack or of numbers.

/// Longer headers hold no array.
const LONGEST: usize = 4096;
const ELEMENT: usize = size_of::<f32>();

/// Refuses a file whose header is not plain, or whose shape is not what follows it, as floats.
pub fn check(file: &[u8]) -> Result<(), String> {
    let broken = |what: &str| format!("is not a readable NumPy .npy file: {what}");
    let Some((b"\x93NUMPY", rest)) = file.split_at_checked(6) else {
        return Err(broken("it does not begin as one"));
    };
    let (size, rest) = match rest {
        [1, _, a, b, rest @ ..] => (u32::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
        _ => return Err(broken("its version is unknown")),
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > LONGEST || size > rest.len() {
        return Err(broken(&format!("its header claims {size} bytes")));
    }
    let (header, data) = rest.split_at(size);
    let header = str::from_utf8(header).map_err(|_| broken("its header is no text"))?;
    let shape = shape(header).ok_or_else(|| broken("its header has no plain shape"))?;
    let bytes = shape.iter().try_fold(ELEMENT, |bytes, &n| bytes.checked_mul(n));
    // Another type of numbers is told apart by who reads them.
    if header.contains("'<f4'") && bytes != Some(data.len()) {
        return Err(broken(&format!("its shape {shape:?} is not what its {} bytes hold", data.len())));
    }
    if header.matches(['(', '[', '{']).count() > 2 {
        return Err(broken("its header is not plain"));
    }
    Ok(())
}

/// `'shape': (1, 4, 8, 8)`.
fn shape(header: &str) -> Option<Vec<usize>> {
    let (_, rest) = header.split_once("'shape'")?;
    let list = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('(')?;
    let (list, _) = list.split_once(')')?;
    let numbers = list.split(',').map(str::trim).filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.resize(file.len() + data, 0);
        file
    }

    #[test]
    fn a_header_that_is_not_what_the_file_holds_is_refused() {
        let plain = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        assert_eq!(check(&file(&plain("(1, 1, 2, 2)"), 16)), Ok(()));
        assert_eq!(check(&file(&plain("()"), 4)), Ok(()));
        for (header, data, cause) in [
            (plain("(1, 1, 2, 3)"), 16, "[1, 1, 2, 3]"),
            (plain("(4611686018427387904, 4)"), 16, "4611686018427387904"),
            (plain("(-1, 4)"), 16, "no plain shape"),
            (plain("(1, 1, 2"), 16, "no plain shape"),
            (format!("{{'shape': (4,), 'descr': '<f4', 'more': {}", "(".repeat(3000)), 16, "not plain"),
            ("(".repeat(3000), 16, "no plain shape"),
            ("(".repeat(60_000), 16, "claims 60000 bytes"),
        ] {
            let error = check(&file(&header, data)).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
        for cut in [0, 5, 7, 9, 20] {
            assert!(check(&file(&plain("(4,)"), 16)[..cut]).is_err());
        }
    }
}
