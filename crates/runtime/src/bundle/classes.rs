//! Looks classes up by what people call them: published label lists have duplicates, lists of synonyms, any script.
//!
//! Names are compared part by part between commas, first as they are written, then without regard to case.

#![forbid(unsafe_code)]

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use super::manifest::Classes;
use super::parse::shortened;
use crate::Result;
use crate::error::invalid_argument;

/// Classes that a message names at most.
const MOST_NAMED: usize = 8;
/// Labels that a message names at most.
const MOST_LABELS: usize = 32;

impl Classes {
    /// The number of the class called `name`: its label, one of the synonyms that commas divide a label into
    /// (`tench` of `tench, Tinca tinca`), or the number itself.
    ///
    /// Accents may be composed or not. What is written exactly so is meant before what differs in case, and a whole
    /// label before a synonym of the same spelling. Case is Unicode's (`STRASSE` is `straße`, `ς` is `σ`), the same
    /// in every language: `I`, `i` and the Turkish `ı` are one letter, `İ` is another.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) lists the numbers of the classes that `name` may mean
    /// if there are several; names the nearest label and lists the others if there is none.
    pub fn find(&self, name: &str) -> Result<i64> {
        match self.named(name, true).as_slice() {
            &[class] => Ok(class),
            [] => Err(self.unknown(name)),
            several => Err(self.ambiguous(name, several)),
        }
    }

    /// The numbers of the classes in a list with commas between them, such as `brick,3`, as [`find`](Self::find) takes
    /// each. Commas that belong to a label are no end of it (`tench, Tinca tinca` is one class where a label says so),
    /// nor are those behind a backslash.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_all(&self, list: &str) -> Result<Vec<i64>> {
        let pieces = pieces(list);
        let labels = self.labels.iter().flatten();
        let longest = labels.map(|label| label.split(',').count()).max().unwrap_or(1);
        let (mut found, mut rest) = (Vec::new(), pieces.as_slice());
        while let Some((first, others)) = rest.split_first() {
            let whole = (2..=longest.min(rest.len())).rev().find_map(|count| {
                // Who writes a backslash says where a label ends.
                let said = rest[..count].iter().any(|piece| piece.contains(','));
                let label = rest[..count].join(",");
                (!said && !self.named(&label, false).is_empty()).then_some((label, count))
            });
            match whole {
                Some((label, count)) => {
                    found.push(self.find(&label)?);
                    rest = &rest[count..];
                }
                None => {
                    found.push(self.find(first)?);
                    rest = others;
                }
            }
        }
        Ok(found)
    }

    /// Whether networks may be asked for this class.
    #[doc(hidden)]
    pub fn has(&self, class: i64) -> bool {
        self.range().contains(&class) || self.null == Some(class)
    }

    /// The classes that there are, in words.
    #[doc(hidden)]
    pub fn numbers(&self) -> String {
        let null = self.null.map(|null| format!(", and {null} for no class")).unwrap_or_default();
        match self.count {
            1 => format!("this bundle has class 0{null}"),
            count => format!("this bundle has classes 0 to {}{null}", count - 1),
        }
    }

    fn range(&self) -> Range<i64> {
        0..i64::from(self.count)
    }

    /// The classes that `name` may mean, all of them equally; synonyms and numbers count if `parts` do.
    fn named(&self, name: &str, parts: bool) -> Vec<i64> {
        let labels = self.labels.as_deref().unwrap_or_default();
        for key in [composed as fn(&str) -> String, folded] {
            let wanted: Vec<String> = keys(name, key).collect();
            let matching = |label: &dyn Fn(&str) -> bool| -> Vec<i64> {
                (0..).zip(labels).filter(|(_, known)| label(known)).map(|(class, _)| class).collect()
            };
            let whole = matching(&|label| keys(label, key).eq(wanted.iter().cloned()));
            if !whole.is_empty() {
                return whole;
            }
            if let (true, [wanted]) = (parts, wanted.as_slice()) {
                let synonyms = matching(&|label| keys(label, key).any(|part| part == *wanted));
                if !synonyms.is_empty() {
                    return synonyms;
                }
            }
        }
        let number = name.trim().parse().ok().filter(|&class| parts && self.has(class));
        number.into_iter().collect()
    }

    fn ambiguous(&self, name: &str, classes: &[i64]) -> crate::Error {
        let labels = self.labels.as_deref().unwrap_or_default();
        let written = |&class: &i64| {
            let label = usize::try_from(class).ok().and_then(|class| labels.get(class));
            format!("{class} ({})", shown(label.map_or("", String::as_str)))
        };
        let named: Vec<String> = classes.iter().take(MOST_NAMED).map(written).collect();
        let more = classes.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" or {more} more") } else { String::new() };
        let name = shown(name);
        invalid_argument(format!("class {name} may be {}{more}; ask for its number", named.join(" or ")))
    }

    fn unknown(&self, name: &str) -> crate::Error {
        let wrong = shown(name);
        let digits = name.trim().trim_start_matches(['-', '+']);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let labels = self.labels.as_deref().unwrap_or_default();
        let wanted = shortened(&folded(name.trim()));
        let distance = |label: &&String| {
            let names = keys(label, folded).chain([folded(label)]);
            names.map(|name| strsim::damerau_levenshtein(&shortened(&name), &wanted)).min()
        };
        let nearest = labels.iter().min_by_key(distance).filter(|_| !is_number);
        let Some(nearest) = nearest else {
            let no_labels = if self.labels.is_none() { "; there are no labels" } else { "" };
            return invalid_argument(format!("no class {wrong}; {}{no_labels}", self.numbers()));
        };
        // A label that has commas is marked, so that the list can be read.
        let listed = |label: &String| if label.contains(',') { shown(label) } else { shortened(label) };
        let known = labels.iter().take(MOST_LABELS).map(listed).collect::<Vec<_>>().join(", ");
        let more = if labels.len() > MOST_LABELS { ", ..." } else { "" };
        let nearest =
            if wanted.is_empty() { String::new() } else { format!("nearest is {}, ", shown(nearest)) };
        invalid_argument(format!("no class {wrong}; {nearest}known are {known}{more}"))
    }
}

/// A name in a message.
fn shown(name: &str) -> String {
    format!("'{}'", shortened(name))
}

/// The parts of a name between its commas, by `key`.
fn keys(name: &str, key: fn(&str) -> String) -> impl Iterator<Item = String> {
    name.split(',').map(move |part| key(part.trim()))
}

/// `text` with accents as one character each, where there is one.
fn composed(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { text.nfc().collect() }
}

/// What is the same for texts that differ in case, or in how accents are written.
///
/// Upper case makes one of `ß` and `SS`, of `ς` and `σ`; going through lower case first, it also does of `ẞ`.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let apart: String = text.nfd().collect();
    apart.to_lowercase().to_uppercase().to_lowercase().nfd().collect()
}

/// The pieces of a list between its commas; `\,` is a comma within one.
fn pieces(list: &str) -> Vec<String> {
    let (mut pieces, mut piece, mut characters) = (Vec::new(), String::new(), list.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.next_if_eq(&',').is_some() => piece.push(','),
            ',' => pieces.push(std::mem::take(&mut piece)),
            other => piece.push(other),
        }
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(labels: &[&str]) -> Classes {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
        let count = u32::try_from(labels.len()).unwrap();
        Classes { count, null: Some(i64::from(count)), labels: Some(labels) }
    }

    fn refusal(classes: &Classes, name: &str) -> String {
        classes.find(name).unwrap_err().to_string()
    }

    #[test]
    fn an_exact_name_wins_and_what_stays_ambiguous_lists_its_numbers() {
        let pair = classes(&["Siamese cat", "Cardigan", "cardigan"]);
        assert_eq!((pair.find("Cardigan").unwrap(), pair.find("cardigan").unwrap()), (1, 2));
        assert_eq!(
            refusal(&pair, "CARDIGAN"),
            "class 'CARDIGAN' may be 1 ('Cardigan') or 2 ('cardigan'); ask for its number"
        );
        let twice = classes(&["crane", "tench, Tinca tinca", "crane", "construction crane"]);
        let message = refusal(&twice, "crane");
        assert!(message.contains("may be 0 ('crane') or 2 ('crane')"), "{message}");
        assert_eq!(twice.find("2").unwrap(), 2);
        let many = classes(&["n/a"; 20]);
        assert!(refusal(&many, "N/A").contains("or 7 ('n/a') or 12 more; ask"), "{}", refusal(&many, "N/A"));
    }

    #[test]
    fn a_synonym_names_its_class_unless_another_has_it_too() {
        let lemmas = classes(&[
            "tench, Tinca tinca",
            "Cardigan, Cardigan Welsh corgi",
            "cardigan",
            "drake",
            "mallard, Drake",
            "sorrel, horse",
            "hartebeest, horse",
        ]);
        for (name, class) in [
            ("tench", 0),
            ("TINCA TINCA", 0),
            ("tench,Tinca  tinca".replace("  ", " ").as_str(), 0),
            ("  tench ,  tinca tinca ", 0),
            ("Cardigan", 1),
            ("cardigan", 2),
            ("CARDIGAN", 2),
            ("drake", 3),
            ("Drake", 4),
        ] {
            assert_eq!(lemmas.find(name).unwrap(), class, "{name}");
        }
        assert!(refusal(&lemmas, "horse").contains("5 ('sorrel, horse') or 6 ('hartebeest, horse')"));
        assert!(lemmas.find("Tinca tinca, tench").is_err());
    }

    #[test]
    fn letters_of_every_script_match_without_regard_to_case_and_to_how_accents_are_written() {
        let labels =
            ["Mörtel", "Кирпич", "straße", "Σίσυφος", "Ąžuolas", "ﬁr", "İznik", "ısı", "한글", "Ǆ", "ᾳ"];
        let classes = classes(&labels);
        for (class, label) in (0..).zip(labels) {
            let apart: String = label.nfd().collect();
            for name in [label.to_uppercase(), label.to_lowercase(), apart.to_uppercase(), apart] {
                assert_eq!(classes.find(&name).unwrap(), class, "{name}");
            }
        }
        for (name, class) in [
            ("MO\u{308}RTEL", 0),
            ("STRASSE", 2),
            ("STRAẞE", 2),
            ("σισυφοσ".replace("ισ", "ίσ").as_str(), 3),
            ("FIR", 5),
            ("ISI", 7),
            ("isi", 7),
            ("ΑΙ", 10),
        ] {
            assert_eq!(classes.find(name).unwrap(), class, "{name}");
        }
        for name in ["mortel", "iznik", "strase"] {
            assert!(classes.find(name).is_err(), "{name}");
        }
    }

    #[test]
    fn lists_keep_the_commas_of_labels_and_those_behind_a_backslash() {
        let lemmas = classes(&["crane", "tench, Tinca tinca", "a, b, c", "a, b", "c"]);
        for (list, found) in [
            ("tench, Tinca tinca", vec![1]),
            ("crane,tench, Tinca tinca,3", vec![0, 1, 3]),
            ("TENCH,tinca tinca", vec![1]),
            ("a,b,c", vec![2]),
            ("a,b,c,a,b", vec![2, 3]),
            (r"a\,b,c", vec![3, 4]),
            ("tench,crane", vec![1, 0]),
            ("5, 0", vec![5, 0]),
        ] {
            assert_eq!(lemmas.find_all(list).unwrap(), found, "{list}");
        }
        for (list, words) in [("crane,", "no class ''"), ("", "no class ''"), ("a", "2 ('a, b, c') or 3")] {
            let message = lemmas.find_all(list).unwrap_err().to_string();
            assert!(message.contains(words), "{list}: {message}");
        }
    }

    #[test]
    fn a_number_that_is_no_class_is_told_the_range_and_no_label() {
        let mut classes = classes(&["dirt", "brick"]);
        for (name, is) in [("2", 2), ("+1", 1), ("01", 1)] {
            assert_eq!(classes.find(name).unwrap(), is);
        }
        for name in ["42", "-1", "99999999999999999999"] {
            let expected = format!("no class '{name}'; this bundle has classes 0 to 1, and 2 for no class");
            assert_eq!(refusal(&classes, name), expected);
        }
        assert!(refusal(&classes, "brik").contains("nearest is 'brick', known are dirt, brick"));
        for nothing in ["", " "] {
            assert_eq!(refusal(&classes, nothing), format!("no class '{nothing}'; known are dirt, brick"));
        }
        (classes.null, classes.labels) = (None, None);
        assert_eq!(
            refusal(&classes, "2"),
            "no class '2'; this bundle has classes 0 to 1; there are no labels"
        );
        assert_eq!(
            refusal(&classes, "dirt"),
            "no class 'dirt'; this bundle has classes 0 to 1; there are no labels"
        );
        classes.count = 1;
        assert_eq!(refusal(&classes, "1"), "no class '1'; this bundle has class 0; there are no labels");
    }
}
