use serde_json::{Value, json};

use crate::text::tokenizer::{Tokenizer, Tokens};
use crate::{ErrorKind, Result};

const JSON: &[u8] = include_bytes!("../../../../tests/data/prompts/clip/tokenizer.json");
const PHRASES: &str = include_str!("../../../../tests/data/prompts/clip/phrases.json");
const CHARACTERS: &str = include_str!("../../../../tests/data/prompts/clip/characters.json");
const MOST: usize = 16;

fn changed(edit: impl FnOnce(&mut Value)) -> Result<Tokenizer> {
    let mut json: Value = serde_json::from_slice(JSON).unwrap();
    edit(&mut json);
    Tokenizer::new(json.to_string().as_bytes(), MOST)
}

/// What the Python package makes of each phrase.
fn phrases() -> Vec<(String, Vec<i64>)> {
    let phrases: Vec<Value> = serde_json::from_str(PHRASES).unwrap();
    let tokens = |phrase: &Value| serde_json::from_value(phrase["tokens"].clone()).unwrap();
    phrases.iter().map(|phrase| (phrase["text"].as_str().unwrap().to_owned(), tokens(phrase))).collect()
}

/// The phrases whose tokens are others than the package's.
fn others(tokenizer: &Tokenizer) -> Vec<String> {
    let differs = |(text, wanted): (String, Vec<i64>)| {
        let Tokens { tokens, mask, .. } = tokenizer.encode(&text).unwrap();
        let own = mask.iter().filter(|own| **own == 1).count();
        // The end fills up.
        let same = tokens[..own] == wanted && tokens[own..].iter().all(|token| wanted.last() == Some(token));
        (!same).then_some(text)
    };
    phrases().into_iter().filter_map(differs).collect()
}

#[test]
fn phrases_have_the_tokens_of_the_python_package() {
    assert!(phrases().len() > 120);
    assert_eq!(others(&Tokenizer::new(JSON, MOST).unwrap()), [""; 0]);
    let apart = changed(|json| {
        for merge in json["model"]["merges"].as_array_mut().unwrap() {
            *merge = merge.as_str().unwrap().split(' ').collect();
        }
    });
    assert_eq!(others(&apart.unwrap()), [""; 0]);
}

/// What is a letter, a digit, space or none of these, and what is lowered or composed, is the same of every character.
#[cfg_attr(miri, ignore = "a million prompts")]
#[test]
fn every_character_is_taken_as_by_the_python_package() {
    let stored: Vec<String> = serde_json::from_str(CHARACTERS).unwrap();
    let tokenizer = Tokenizer::new(JSON, MOST).unwrap();
    let block = |block: u32| {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for c in (block << 12..(block + 1) << 12).filter_map(char::from_u32) {
            let Tokens { tokens, mask, .. } = tokenizer.encode(&format!("a{c}b")).unwrap();
            for (token, _) in tokens.iter().zip(mask).filter(|(_, own)| *own == 1) {
                hash = (hash ^ *token as u64).wrapping_mul(0x100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    };
    let wrong = stored.iter().zip(0..).filter(|(wanted, at)| block(*at) != **wanted);
    let wrong: Vec<String> =
        wrong.map(|(_, at)| format!("U+{:X} to U+{:X}", at << 12, (at << 12) + 0xfff)).collect();
    assert_eq!((stored.len(), wrong), (0x110, Vec::new()));
}

#[test]
fn words_of_any_length_are_joined() {
    let tokenizer = Tokenizer::new(JSON, MOST).unwrap();
    for word in ["x".repeat(1 << 16), "stone".repeat(1 << 13), "'".repeat(1 << 16)] {
        assert!(tokenizer.encode(&word).unwrap().cut);
    }
}

#[test]
fn what_is_not_clips_is_refused_by_name() {
    use ErrorKind::{InvalidBundle, Unsupported};
    let set = |path: &str, value: Value| {
        let path = path.to_owned();
        changed(move |json| *json.pointer_mut(&path).unwrap() = value)
    };
    let cases = [
        (
            set("/normalizer/normalizers/0/type", json!("NFKC")),
            Unsupported,
            "normalizer: is not CLIP's, and this version reads no other with the model BPE",
        ),
        (
            set("/pre_tokenizer/pretokenizers/1/add_prefix_space", json!(true)),
            Unsupported,
            "pre_tokenizer: is not CLIP's, and this version reads no other with the model BPE",
        ),
        (
            set("/pre_tokenizer", json!(null)),
            Unsupported,
            "pre_tokenizer: is not CLIP's, and this version reads no other with the model BPE",
        ),
        (
            set("/model/dropout", json!(0.1)),
            Unsupported,
            "model: dropout and ignore_merges are not known here",
        ),
        (
            set("/model/continuing_subword_prefix", json!("##")),
            Unsupported,
            "model.continuing_subword_prefix: must be empty",
        ),
        (set("/model/end_of_word_suffix", json!("_")), InvalidBundle, "model.vocab: lacks 'Ā_'"),
        (set("/model/merges/3", json!("stone")), InvalidBundle, "model.merges: 3 is no two tokens"),
        (set("/model/merges/3", json!("st q</w>")), InvalidBundle, "model.vocab: lacks 'stq</w>'"),
        (set("/model/vocab", json!([])), InvalidBundle, "model.vocab: must be words and their numbers"),
        (
            set("/padding", json!(null)),
            InvalidBundle,
            "says nothing of what fills up (padding.pad_id, or a token [PAD] or <pad>)",
        ),
    ];
    for (read, kind, message) in cases {
        let error = read.err().unwrap_or_else(|| panic!("{message}"));
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    }
}
