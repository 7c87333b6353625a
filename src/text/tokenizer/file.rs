//! What a tokenizer.json says, as far as it is one of BERT's kind or of CLIP's.

use std::collections::HashMap;
use std::mem;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::byte_pairs::{BytePairs, character};
use super::word_pieces::{Normalizer, Pieces, WordPieces};
use super::{Frame, Tokenizer, Words};
use crate::error::{invalid_bundle, unsupported};
use crate::{Error, Result, memory};

/// Bytes of memory that a byte of the file takes, at most but for files of the oddest kind.
const READ: usize = 16;
/// Bytes of memory that a merge takes, at most.
const MERGE: usize = 64;
/// The models that are read.
const MODELS: &[&str] = &["WordPiece", "BPE"];
/// The longest words that may be known: pieces are looked for in time that goes by their square.
const MOST_CHARACTERS: usize = 1000;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    padding: Option<Padding>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct Padding {
    pad_id: u32,
    #[serde(default)]
    pad_type_id: u32,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    special: bool,
}

#[derive(Deserialize)]
struct Bert {
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    max_input_chars_per_word: Option<usize>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default)]
    ignore_merges: bool,
    vocab: Vocabulary,
}

/// Two tokens that become one: in newer files apart, in older ones with a space between them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Apart([String; 2]),
    Line(String),
}

/// A vocabulary, or what another kind of model has in its place.
#[derive(Deserialize)]
#[serde(untagged)]
enum Vocabulary {
    Words(HashMap<String, u32>),
    Other(IgnoredAny),
}

/// `TemplateProcessing`.
#[derive(Deserialize)]
struct Template {
    single: Vec<Piece>,
    special_tokens: HashMap<String, Special>,
}

#[derive(Deserialize)]
enum Piece {
    SpecialToken { id: String, type_id: u32 },
    Sequence { id: String, type_id: u32 },
}

#[derive(Deserialize)]
struct Special {
    ids: Vec<u32>,
}

/// `BertProcessing`, and `RobertaProcessing`, which differs in places of text alone.
#[derive(Deserialize)]
struct Ends {
    sep: (String, u32),
    cls: (String, u32),
}

/// See [`Tokenizer::new`].
pub(super) fn read(json: &[u8], max_tokens: usize) -> Result<Tokenizer> {
    // serde ends the process where memory is refused.
    memory::room(json.len().saturating_mul(READ))?;
    let mut file: File = serde_json::from_slice(json).map_err(|error| damaged(&error))?;
    let model = file.model.kind.as_deref().unwrap_or("WordPiece");
    if !MODELS.contains(&model) {
        return Err(not_known("model", model, MODELS));
    }
    let is_clip = model == "BPE";
    let vocabulary = mem::replace(&mut file.model.vocab, Vocabulary::Other(IgnoredAny));
    let Vocabulary::Words(vocabulary) = vocabulary else {
        return Err(invalid_bundle("model.vocab: must be words and their numbers"));
    };
    let filling = ["[PAD]", "<pad>"].iter().find_map(|name| vocabulary.get(*name)).copied();
    let largest = vocabulary.values().copied().max();
    let words = if is_clip {
        clips("normalizer", file.normalizer.as_ref(), &clip_normalizer())?;
        clips("pre_tokenizer", file.pre_tokenizer.as_ref(), &clip_pre_tokenizer())?;
        Words::Pairs(byte_pairs(&file.model, &vocabulary)?)
    } else {
        let pieces = pieces(file.model, vocabulary)?;
        let normalizer = file.normalizer.map(normalizer).transpose()?;
        kind("pre_tokenizer", file.pre_tokenizer.as_ref(), &["BertPreTokenizer"])?;
        Words::Pieces(WordPieces { normalizer, pieces })
    };
    if let Some(typed) = file.added_tokens.iter().find(|token| !token.special) {
        return Err(unsupported(format!(
            "added_tokens: '{}' is not special: such tokens are not known here",
            typed.content.escape_debug()
        )));
    }
    let frame = frame(file.post_processor)?;
    let (added, [before, behind]) = (
        frame.before.len() + frame.behind.len(),
        [&frame.before, &frame.behind].map(|rows| rows.iter().map(|row| row[0])),
    );
    if added >= max_tokens {
        return Err(invalid_bundle(format!(
            "adds {added} tokens of its own, and text.max_tokens allows {max_tokens} in all"
        )));
    }
    let pad = match &file.padding {
        Some(padding) => Some([padding.pad_id, padding.pad_type_id]),
        None => filling.map(|token| [token, 0]),
    };
    let pad = pad.ok_or_else(|| {
        invalid_bundle("says nothing of what fills up (padding.pad_id, or a token [PAD] or <pad>)")
    })?;
    let added = file.added_tokens.iter().map(|token| token.id);
    let all = added.chain(largest).chain([pad[0]]).map(i64::from);
    let last = all.chain(before).chain(behind).max().unwrap_or(0);
    Ok(Tokenizer { words, frame, pad: pad.map(i64::from), last, max_tokens })
}

fn pieces(model: Model, vocabulary: HashMap<String, u32>) -> Result<Pieces> {
    let missing = |field: &str| invalid_bundle(format!("model.{field}: missing"));
    let unk_token = model.unk_token.ok_or_else(|| missing("unk_token"))?;
    let prefix = model.continuing_subword_prefix.ok_or_else(|| missing("continuing_subword_prefix"))?;
    let most = model.max_input_chars_per_word.ok_or_else(|| missing("max_input_chars_per_word"))?;
    if most > MOST_CHARACTERS {
        return Err(unsupported(format!(
            "model.max_input_chars_per_word: {most}, must be {MOST_CHARACTERS} or less"
        )));
    }
    let unknown = vocabulary.get(&unk_token).copied().ok_or_else(|| {
        let word = unk_token.escape_debug();
        invalid_bundle(format!("model.unk_token: '{word}' is not in the vocabulary"))
    })?;
    Ok(Pieces { vocabulary, unknown, prefix, most_characters: most })
}

/// How CLIP makes a prompt plain.
fn clip_normalizer() -> Value {
    let space = json!({ "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " });
    json!({ "type": "Sequence", "normalizers": [{ "type": "NFC" }, space, { "type": "Lowercase" }] })
}

/// How CLIP cuts a prompt into words, and these into bytes.
fn clip_pre_tokenizer() -> Value {
    let words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let words =
        json!({ "type": "Split", "pattern": { "Regex": words }, "behavior": "Removed", "invert": true });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false });
    json!({ "type": "Sequence", "pretokenizers": [words, bytes] })
}

/// Refuses a part that is not CLIP's own.
fn clips(part: &str, found: Option<&Value>, wanted: &Value) -> Result<()> {
    if found.is_some_and(|found| has(found, wanted)) {
        return Ok(());
    }
    Err(unsupported(format!("{part}: is not CLIP's, and this version reads no other with the model BPE")))
}

/// Whether `value` is as `wanted`, beside whose fields objects may have others.
fn has(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(fields), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| fields.get(name).is_some_and(|value| has(value, wanted)))
        }
        (Value::Array(values), Value::Array(wanted)) => {
            values.len() == wanted.len()
                && values.iter().zip(wanted).all(|(value, wanted)| has(value, wanted))
        }
        _ => value == wanted,
    }
}

fn byte_pairs(model: &Model, vocabulary: &HashMap<String, u32>) -> Result<BytePairs> {
    if model.dropout.is_some() || model.ignore_merges {
        return Err(unsupported("model: dropout and ignore_merges are not known here"));
    }
    if model.continuing_subword_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty()) {
        return Err(unsupported("model.continuing_subword_prefix: must be empty"));
    }
    let suffix = model.end_of_word_suffix.as_deref().unwrap_or_default();
    let token = |word: &str| {
        let lacks = || invalid_bundle(format!("model.vocab: lacks '{}'", word.escape_debug()));
        vocabulary.get(word).copied().ok_or_else(lacks)
    };
    let mut bytes = Box::new([[0; 256]; 2]);
    for byte in 0..=u8::MAX {
        let inside = character(byte).to_string();
        bytes[0][usize::from(byte)] = token(&inside)?;
        bytes[1][usize::from(byte)] = token(&(inside + suffix))?;
    }
    let mut merges = HashMap::new();
    let count = model.merges.len();
    merges.try_reserve(count).map_err(|_| memory::refused((count * MERGE) as u64))?;
    for (rank, merge) in model.merges.iter().enumerate() {
        let apart = match merge {
            Merge::Apart([left, right]) => Some((left.as_str(), right.as_str())),
            Merge::Line(line) => line.split_once(' '),
        };
        let (left, right) =
            apart.ok_or_else(|| invalid_bundle(format!("model.merges: {rank} is no two tokens")))?;
        let both = [token(left)?, token(right)?];
        merges.insert(both, (rank, token(&format!("{left}{right}"))?));
    }
    Ok(BytePairs { bytes, merges })
}

fn normalizer(value: Value) -> Result<Normalizer> {
    kind("normalizer", Some(&value), &["BertNormalizer"])?;
    let Bert { clean_text, handle_chinese_chars, strip_accents, lowercase } = parsed("normalizer", value)?;
    let accents = strip_accents.unwrap_or(lowercase);
    Ok(Normalizer { clean: clean_text, chinese: handle_chinese_chars, accents, lowercase })
}

fn frame(value: Option<Value>) -> Result<Frame> {
    const KNOWN: &[&str] = &["TemplateProcessing", "BertProcessing", "RobertaProcessing"];
    let Some(value) = value else {
        return Ok(Frame { before: Vec::new(), own: 0, behind: Vec::new() });
    };
    if kind("post_processor", Some(&value), KNOWN)? != "TemplateProcessing" {
        let Ends { sep, cls } = parsed("post_processor", value)?;
        let row = |token: u32| vec![[i64::from(token), 0]];
        return Ok(Frame { before: row(cls.1), own: 0, behind: row(sep.1) });
    }
    let Template { single, special_tokens } = parsed("post_processor", value)?;
    let (mut before, mut behind, mut own) = (Vec::new(), Vec::new(), None);
    for piece in single {
        match piece {
            Piece::Sequence { id, type_id } if id == "A" && own.is_none() => own = Some(i64::from(type_id)),
            Piece::Sequence { .. } => {
                return Err(invalid_bundle("post_processor.single: must have the sequence A once"));
            }
            Piece::SpecialToken { id, type_id } => {
                let special = special_tokens.get(&id).ok_or_else(|| {
                    let id = id.escape_debug();
                    invalid_bundle(format!("post_processor.special_tokens: lacks '{id}'"))
                })?;
                let to = if own.is_none() { &mut before } else { &mut behind };
                to.extend(special.ids.iter().map(|&token| [i64::from(token), i64::from(type_id)]));
            }
        }
    }
    let own = own.ok_or_else(|| invalid_bundle("post_processor.single: must have the sequence A once"))?;
    Ok(Frame { before, own, behind })
}

/// The kind of a part, which must be one of those.
fn kind<'a>(part: &str, value: Option<&'a Value>, known: &[&str]) -> Result<&'a str> {
    let found = value.and_then(|value| value["type"].as_str()).unwrap_or("none");
    if known.contains(&found) { Ok(found) } else { Err(not_known(part, found, known)) }
}

fn not_known(part: &str, found: &str, known: &[&str]) -> Error {
    let known = match known {
        [many @ .., last] if many.len() > 1 => format!("{} or {last}", many.join(", ")),
        few => few.join(" or "),
    };
    let found = found.escape_debug();
    unsupported(format!("{part}: of the kind {found}, this version reads {known}"))
}

fn parsed<T: for<'de> Deserialize<'de>>(part: &str, value: Value) -> Result<T> {
    T::deserialize(value).map_err(|error| damaged(format!("{part}: {error}")))
}

fn damaged(cause: impl std::fmt::Display) -> Error {
    let text: String = cause.to_string().replace(['\n', '\r'], " ").chars().take(300).collect();
    invalid_bundle(format!("is no tokenizer.json: {text}"))
}
