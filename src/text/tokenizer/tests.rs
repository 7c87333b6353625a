use serde_json::{Value, json};

use super::*;
use crate::ErrorKind;

const JSON: &[u8] = include_bytes!("../../../tests/data/prompts/bundle/tokenizer.json");
const PHRASES: &str = include_str!("../../../tests/data/prompts/phrases.json");
const MOST: usize = 16;

fn ids(tokens: &Value) -> Vec<i64> {
    tokens.as_array().unwrap().iter().map(|token| token.as_i64().unwrap()).collect()
}

/// What the Python package makes of each phrase.
fn phrases() -> Vec<(String, Vec<i64>)> {
    let phrases: Vec<Value> = serde_json::from_str(PHRASES).unwrap();
    let phrase = |phrase: &Value| (phrase["text"].as_str().unwrap().to_owned(), ids(&phrase["tokens"]));
    phrases.iter().map(phrase).collect()
}

/// The phrases whose tokens are others than the package's.
fn others(tokenizer: &Tokenizer) -> Vec<String> {
    let differs = |(text, wanted): (String, Vec<i64>)| {
        let Tokens { tokens, mask, types, .. } = tokenizer.encode(&text).unwrap();
        let rest = MOST - wanted.len();
        let filled = |own: Vec<i64>| [own, vec![0; rest]].concat();
        assert_eq!((tokens.len(), types), (MOST, vec![0; MOST]));
        let same = tokens == filled(wanted.clone()) && mask == filled(vec![1; wanted.len()]);
        (!same).then_some(text)
    };
    phrases().into_iter().filter_map(differs).collect()
}

fn changed(edit: impl FnOnce(&mut Value)) -> Result<Tokenizer> {
    let mut json: Value = serde_json::from_slice(JSON).unwrap();
    edit(&mut json);
    Tokenizer::new(json.to_string().as_bytes(), MOST)
}

#[test]
fn phrases_have_the_tokens_of_the_python_package() {
    let tokenizer = Tokenizer::new(JSON, MOST).unwrap();
    assert!(phrases().len() > 100);
    assert_eq!(others(&tokenizer), [""; 0]);
    assert!(tokenizer.encode(&"stone ".repeat(15)).unwrap().cut);
    assert!(!tokenizer.encode(&"stone ".repeat(14)).unwrap().cut);
}

/// What is cut, split off, lowered, parted from its accents or left alone is the same of every character there is.
#[cfg_attr(miri, ignore = "a million prompts")]
#[test]
fn every_character_is_taken_as_by_the_python_package() {
    let all: Value =
        serde_json::from_str(include_str!("../../../tests/data/prompts/characters.json")).unwrap();
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let kinds: Vec<Vec<i64>> = all["tokens"].as_array().unwrap().iter().map(ids).collect();
    let runs: Vec<(usize, usize)> =
        all["runs"].as_array().unwrap().iter().map(|run| (number(&run[0]), number(&run[1]))).collect();
    let tokenizer = Tokenizer::new(JSON, MOST).unwrap();
    let (mut run, mut seen) = (0, 0);
    for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
        while runs.get(run + 1).is_some_and(|next| next.0 <= c as usize) {
            run += 1;
        }
        let wanted = &kinds[runs[run].1];
        let found = tokenizer.encode(&format!("a{c}b")).unwrap();
        assert_eq!(found.tokens[..wanted.len()], wanted[..], "{}", c.escape_unicode());
        assert_eq!(found.mask.iter().sum::<i64>() as usize, wanted.len(), "{}", c.escape_unicode());
        seen += 1;
    }
    assert_eq!(seen, 0x110000 - 0x800);
}

/// Each rule is held by some phrase: without it there are other tokens.
#[test]
fn no_rule_could_be_left_out() {
    let without = |field: &str| {
        changed(|json| json["normalizer"][field] = json!(false)).unwrap_or_else(|error| panic!("{error}"))
    };
    let short = changed(|json| json["model"]["max_input_chars_per_word"] = json!(29)).unwrap();
    for (name, broken, phrase) in [
        ("clean_text", without("clean_text"), "a\u{200b}b"),
        ("handle_chinese_chars", without("handle_chinese_chars"), "木の床"),
        ("strip_accents", without("strip_accents"), "café"),
        ("lowercase", without("lowercase"), "MOSSY STONE WALL"),
        ("max_input_chars_per_word", short, &"x".repeat(30)),
    ] {
        assert!(others(&broken).iter().any(|other| other == phrase), "{name}: {:?}", others(&broken));
    }
}

#[test]
fn the_ends_of_bert_are_known_by_either_name() {
    let ends = json!({ "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2] });
    assert_eq!(others(&changed(|json| json["post_processor"] = ends).unwrap()), [""; 0]);
    let bare = changed(|json| json["post_processor"] = json!(null)).unwrap();
    assert_eq!(bare.encode("[CLS]").unwrap().mask.iter().sum::<i64>(), 5);
    assert_eq!(bare.encode("").unwrap().mask, [0; MOST]);
    // Words of a kind and what stands around them may be of other types.
    let typed = changed(|json| {
        json["post_processor"]["single"][1]["Sequence"]["type_id"] = json!(1);
        json["padding"]["pad_type_id"] = json!(4);
    });
    assert_eq!(typed.unwrap().encode("moss rock").unwrap().types[..6], [0, 1, 1, 0, 4, 4]);
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    use ErrorKind::{InvalidBundle, Unsupported};
    let set = |path: &str, value: Value| {
        let path = path.to_owned();
        changed(move |json| *json.pointer_mut(&path).unwrap() = value)
    };
    let cases = [
        (
            changed(|json| {
                json["model"]["type"] = json!("Unigram");
                json["model"]["vocab"] = json!([["<pad>", 0.0]]);
            }),
            Unsupported,
            "model: of the kind Unigram, this version reads WordPiece or BPE",
        ),
        (
            set("/normalizer", json!({ "type": "NFC" })),
            Unsupported,
            "normalizer: of the kind NFC, this version reads BertNormalizer",
        ),
        (
            set("/pre_tokenizer", json!(null)),
            Unsupported,
            "pre_tokenizer: of the kind none, this version reads BertPreTokenizer",
        ),
        (
            set("/post_processor/type", json!("ByteLevel")),
            Unsupported,
            "post_processor: of the kind ByteLevel, this version reads TemplateProcessing, BertProcessing or \
             RobertaProcessing",
        ),
        (
            set("/added_tokens/4/special", json!(false)),
            Unsupported,
            "added_tokens: '[MASK]' is not special: such tokens are not known here",
        ),
        (
            set("/model/max_input_chars_per_word", json!(1001)),
            Unsupported,
            "model.max_input_chars_per_word: 1001, must be 1000 or less",
        ),
        (
            set("/model/unk_token", json!("<unk>")),
            InvalidBundle,
            "model.unk_token: '<unk>' is not in the vocabulary",
        ),
        (set("/model/unk_token", json!(null)), InvalidBundle, "model.unk_token: missing"),
        (set("/model/vocab", json!([])), InvalidBundle, "model.vocab: must be words and their numbers"),
        (
            set("/post_processor/single", json!([])),
            InvalidBundle,
            "post_processor.single: must have the sequence A once",
        ),
        (
            set("/post_processor/special_tokens", json!({})),
            InvalidBundle,
            "post_processor.special_tokens: lacks '[CLS]'",
        ),
        (
            changed(|json| {
                json["padding"] = json!(null);
                json["model"]["vocab"].as_object_mut().unwrap().remove("[PAD]");
            }),
            InvalidBundle,
            "says nothing of what fills up (padding.pad_id, or a token [PAD] or <pad>)",
        ),
        (
            Tokenizer::new(JSON, 2),
            InvalidBundle,
            "adds 2 tokens of its own, and text.max_tokens allows 2 in all",
        ),
    ];
    for (read, kind, message) in cases {
        let error = read.err().unwrap_or_else(|| panic!("{message}"));
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    }
    for damaged in [&b""[..], b"{}", b"[1]", b"\xff", &JSON[..JSON.len() / 2]] {
        let error = Tokenizer::new(damaged, MOST).err().unwrap();
        assert_eq!(error.kind(), InvalidBundle);
        let text = error.to_string();
        assert!(text.starts_with("is no tokenizer.json: ") && text.lines().count() == 1, "{text}");
    }
}

/// Whatever a file says, it is a tokenizer or an error.
#[test]
fn files_with_a_byte_changed_are_no_panic() {
    let (mut state, mut read) = (1u64, 0);
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let phrases = phrases();
    for _ in 0..if cfg!(miri) { 2 } else { 3000 } {
        let mut json = JSON.to_vec();
        let bytes = b"\"{}[],:0129-ae\\ \xff";
        for _ in 0..1 + random(3) {
            json[random(JSON.len())] = bytes[random(bytes.len())];
        }
        let Ok(tokenizer) = Tokenizer::new(&json, MOST) else { continue };
        read += 1;
        let Tokens { tokens, mask, types, .. } = tokenizer.encode(&phrases[random(phrases.len())].0).unwrap();
        assert_eq!((tokens.len(), mask.len(), types.len()), (MOST, MOST, MOST));
        assert!(tokens.iter().all(|&token| token <= tokenizer.last()));
    }
    assert!(cfg!(miri) || read > 300, "{read}");
}
