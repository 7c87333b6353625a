"""The tiny tokenizer's vocabulary, and phrases that its tokens are compared for."""

from __future__ import annotations

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = """stone brick wood moss grass sand rock bark metal rust paint wall floor tile roof leaf water ice snow lava
red green blue brown grey black white dark light old new wet dry rough smooth cracked broken polished dirty clean
large small fine coarse round square with and of on the a in no seamless texture painted wooden"""
WORDS = TEXT.split()
PIECES = ["##s", "##y", "##ed", "##ish", "##en", "##ing", "##work"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789äßñøαβγд木石苔水"
MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~—…、。«»¿“”"


def vocabulary() -> dict[str, int]:
    letters = [form for letter in LETTERS for form in (letter, f"##{letter}")]
    words = dict.fromkeys([*SPECIAL, *WORDS, *PIECES, *letters, *MARKS])
    return {word: number for number, word in enumerate(words)}


def tokenizer(max_tokens: int) -> dict:
    """As files of BERT's kind are, which say things of truncation and padding that do not hold here."""
    words = vocabulary()
    special = [
        {"id": words[word], "content": word, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for word in SPECIAL
    ]
    ends = {word: {"id": word, "ids": [words[word]], "tokens": [word]} for word in ("[CLS]", "[SEP]")}
    piece = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    single = [*piece, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    fixed = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": max_tokens // 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": max_tokens // 2}, **fixed},
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": ends},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 30,
            "vocab": words,
        },
    }


PHRASES = [
    "",
    " ",
    "stone",
    "mossy stone wall",
    "Mossy  Stone\tWall",
    "MOSSY STONE WALL",
    "old red brick",
    "old, red brick!",
    "seamless texture of wet sand",
    "a rough wooden floor with cracked paint",
    "painted wood, painted stone, painted metal, painted brick, painted tile",
    "the the the the the the the the the the the the the the the the",
    "brickwork",
    "brickworks",
    "stonework and brickwork and woodwork",
    "reddish",
    "greenish-blue",
    "bluish/green",
    "light (dark) light",
    "50% sand",
    "sand: 50",
    "sand;rock",
    "tile #3",
    "a+b=c",
    "wood & metal",
    "'rust'",
    '"rust"',
    "rust's",
    "don't",
    "rock...",
    "rock…",
    "rock—ice",
    "¿rock?",
    "«rock»",
    "“rock”",
    "[MASK]",
    "[CLS] stone [SEP]",
    "stone [SEP] wood",
    "[PAD]",
    "[UNK]",
    "[mask]",
    "stone[MASK]wood",
    "##s",
    "stone ##s",
    "café",
    "cafe\u0301",
    "naïve",
    "Ärger",
    "ärger",
    "a\u0308rger",
    "straße",
    "STRASSE",
    "mañana",
    "smørrebrød",
    "ångström",
    "Ωmega αβγ",
    "αβγ",
    "ΑΒΓ",
    "да",
    "木",
    "木の床",
    "石と苔",
    "石、苔。水",
    "stone木wood",
    "木 石",
    "滑らかな石",
    "돌",
    "حجر",
    "पत्थर",
    "หิน",
    "🪨",
    "stone 🪨 stone",
    "👩‍🎨 paint",
    "a\u200bb",
    "a\u00a0b",
    "a\u3000b",
    "a\u00adb",
    "a\ufeffb",
    "a\u0000b",
    "a\ufffdb",
    "a\u2028b",
    "line one\nline two",
    "line\r\nline",
    "\tstone\n",
    "x" * 29,
    "x" * 30,
    "x" * 31,
    "x" * 300,
    "stone " * 50,
    "abc123",
    "123abc",
    "3.14",
    "1,000",
    "e-mail@example.com",
    "https://example.com/a?b=c#d",
    "C++",
    "C#",
    "a_b",
    "snake_case_word",
    "^_^",
    "~tilde~",
    "`code`",
    "{curly}",
    "<b>bold</b>",
    "back\\slash",
    "İstanbul",
    "ﬁne",
    "ｆｕｌｌ",
    "²",
    "½",
    "㎏",
    "A\u030a",
    "e\u0301\u0302\u0303",
    "\u0301",
    "٣",
    "𝔰𝔱𝔬𝔫𝔢",
    "dry\u2014wet\u2013old",
    "white snow, black lava, blue ice, green moss, brown bark",
]
