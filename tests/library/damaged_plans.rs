//! Plan files that lie: in each field, in each section, cut short anywhere. Each is an error of one line, and no more.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flowturbo::{Bundle, Error, ErrorKind, Limits, Model, ModelOptions, Request};

use crate::plan_bytes::{ENTRY, FOOTER, long, sections, sign, sign_section, strange, table};
use crate::plans::tiny;

/// What a plan comes to in the end.
fn outcome(plan: Vec<u8>) -> flowturbo::Result<()> {
    let model =
        Model::load(Bundle::from_bytes(plan, &Limits::default())?, &ModelOptions::default().with_threads(1))?;
    model.session().latents(&Request::new(vec![1]).with_schedule("H1R1".parse()?)).map(drop)
}

#[track_caller]
fn refused(what: &str, plan: Vec<u8>) -> Error {
    let error = outcome(plan).expect_err(what);
    println!("{what}: {error}");
    assert!(!error.to_string().contains('\n'), "{what}");
    assert!(!error.to_string().contains("bug in flowturbo"), "{what}: {error}");
    error
}

#[test]
fn the_format_is_as_its_page_says() {
    let mut plan = tiny().to_vec();
    assert_eq!(plan[..8], *b"\x89FTPLAN\n");
    let all = sections(&plan);
    assert!(all.iter().all(|section| section.start % 65536 == 0));
    assert_eq!(all.last().unwrap().end, table(&plan).start);
    assert!(plan[all[0].clone()].starts_with(b"{"));
    (0..all.len()).for_each(|index| sign_section(&mut plan, index));
    assert!(plan == tiny(), "hashes are computed here as there");
    outcome(plan).unwrap();
}

#[test]
fn a_lie_in_any_field_is_told_by_the_fields_name() {
    let good = tiny();
    let (start, end, footer) = (table(good).start, table(good).end, good.len() - FOOTER);
    let sections = sections(good).len();
    let u32s = |value: u32| value.to_le_bytes().to_vec();
    let u64s = |value: u64| value.to_le_bytes().to_vec();
    let mut cases: Vec<(String, usize, Vec<u8>, &str)> = vec![
        ("magic".into(), 0, vec![0], "zip"),
        ("version 0".into(), 8, u32s(0), "version: 0"),
        ("version 2".into(), 8, u32s(2), "version: 2, this build reads 1; compile the bundle again"),
        ("version of the future".into(), 8, u32s(u32::MAX), "version"),
        ("target 4".into(), 12, u32s(4), "target: not known"),
        ("target of the future".into(), 12, u32s(u32::MAX), "target: not known"),
        ("footer's magic".into(), footer + 24, vec![0], "footer"),
        ("no sections".into(), footer, u32s(0), "sections: 0"),
        ("thirteen sections".into(), footer, u32s(13), "sections: 13"),
        ("all sections".into(), footer, u32s(u32::MAX), "sections: 4294967295"),
        ("one section less".into(), footer, u32s(sections as u32 - 1), "table: not where"),
        ("one section more".into(), footer, u32s(sections as u32 + 1), "table: not where"),
        ("footer's reserve".into(), footer + 4, u32s(1), "reserved"),
        ("shorter".into(), footer + 8, u64s(good.len() as u64 - 1), "length"),
        ("longer".into(), footer + 8, u64s(good.len() as u64 + 1), "length"),
        ("longest".into(), footer + 8, u64s(u64::MAX), "length"),
        ("table before itself".into(), footer + 16, u64s(start as u64 - 64), "table"),
        ("table nowhere".into(), footer + 16, u64s(u64::MAX), "table"),
    ];
    for i in 0..sections {
        let (at, name) = (start + i * ENTRY, format!("section {i}"));
        let before = if i == 0 { 0 } else { long(good, at - ENTRY + 8) };
        let more: [(&str, usize, Vec<u8>, &'static str); 12] = [
            ("kind 0", 0, u32s(0), "kind: 0"),
            ("kind of the future", 0, u32s(5), "kind: 5"),
            ("network of the future", 4, u32s(6), "of network 6"),
            ("another's kind", 0, if i == 0 { u32s(2) } else { [u32s(1), u32s(0)].concat() }, "kind"),
            ("offset between pages", 8, u64s(long(good, at + 8) + 64), "offset"),
            ("offset before", 8, u64s(before), "offset"),
            ("offset behind", 8, u64s(good.len().next_multiple_of(65536) as u64), "length"),
            ("offset beyond numbers", 8, u64s(u64::MAX - 65535), "length"),
            ("length beyond the table", 16, u64s(end as u64), "length"),
            ("length beyond numbers", 16, u64s(u64::MAX), "length"),
            ("reserved", 24, u64s(1), "reserved"),
            ("hash", 32, vec![good[at + 32] ^ 1], "SHA-256"),
        ];
        for (what, place, bytes, words) in more {
            cases.push((format!("{name}: {what}"), at + place, bytes, words));
        }
    }
    println!("{} plans", cases.len());
    assert!(cases.len() >= 40);
    for (what, at, bytes, words) in cases {
        let mut plan = good.to_vec();
        assert_ne!(plan[at..at + bytes.len()], bytes, "{what} is no lie");
        plan[at..at + bytes.len()].copy_from_slice(&bytes);
        // Without a hash that fits, it is damage; with one, the lie itself is found.
        if at >= 16 {
            let line = refused(&what, plan.clone()).to_string();
            assert!(
                ["SHA-256", "footer", "table", "sections", "length", "reserved"]
                    .iter()
                    .any(|w| line.contains(w))
            );
        }
        if table(good) == table(&plan) && at != footer + 16 {
            sign(&mut plan);
        }
        let error = refused(&what, plan);
        assert!(error.to_string().contains(words), "{what}: {error}");
        let unsupported = what.starts_with("version") || what.starts_with("target");
        let kind = if unsupported { ErrorKind::Unsupported } else { ErrorKind::InvalidBundle };
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
}

#[test]
fn a_plan_cut_short_or_added_to_anywhere_is_refused() {
    let good = tiny();
    let mut lengths =
        vec![0, 1, 7, 8, 12, 15, 16, 17, 64, 80, good.len() - 1, good.len() - 32, good.len() - 64];
    for section in sections(good) {
        for at in [section.start, section.start + 1, section.end - 1, section.end] {
            lengths.push(at);
        }
    }
    lengths.extend(table(good).step_by(32));
    for length in lengths {
        let error = refused(&format!("{length} bytes"), good[..length].to_vec());
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
        assert!(error.to_string().contains("cut short"), "{error}");
    }
    for more in [1, 64, 4096] {
        let error = refused("added to", [good, &vec![0; more]].concat());
        assert!(error.to_string().contains("added to"), "{error}");
    }
}

#[test]
fn damage_in_any_section_is_told_by_its_name() {
    let good = tiny();
    let names = [
        "manifest",
        "weights of the predictor",
        "plans of the predictor",
        "weights of the refiner",
        "plans of the refiner",
    ];
    for (section, name) in sections(good).into_iter().zip(names) {
        for at in [section.start, section.start + section.len() / 2, section.end - 1] {
            let mut plan = good.to_vec();
            plan[at] ^= 0x10;
            let error = refused(name, plan.clone());
            assert_eq!(error.kind(), ErrorKind::InvalidBundle);
            assert!(error.to_string().contains(&format!("{name}: is damaged")), "{error}");
            if let Ok(bundle) = Bundle::from_bytes(plan, &Limits::default()) {
                assert!(bundle.verify().unwrap_err().to_string().contains(name));
            }
        }
    }
}

/// Plans whose hashes are right and whose steps are anything: whatever becomes of them, it is no panic and no crash.
#[test]
fn plans_of_strangers_stay_within_their_own_memory() {
    let (mut refusals, mut kinds) = (0, std::collections::BTreeMap::new());
    // Panics are caught and told as errors; their reports would hide what this prints.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    const PLANS: usize = 600;
    for plan in strange(tiny()).take(PLANS) {
        let ended = catch_unwind(AssertUnwindSafe(|| outcome(plan)));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                refusals += 1;
                *kinds.entry(format!("{:?}", error.kind())).or_insert(0) += 1;
                assert!(!error.to_string().contains("bug in flowturbo"), "{error}");
            }
            Err(_) => *kinds.entry("panic".to_owned()).or_insert(0) += 1,
        }
    }
    std::panic::set_hook(hook);
    println!("{refusals} of {PLANS} refused: {kinds:?}");
    assert_eq!(kinds.get("panic"), None, "{kinds:?}");
    assert!(refusals > PLANS / 4);
}
