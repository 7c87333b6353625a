//! Holds the header to the one of the last release, `abi/flowturbo.h`: what is there stays as it is, and a struct that
//! begins with its size may grow at its end. At a release, the header is copied there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::made;

/// How a kind of machine lays structs out: flags of the C compiler, and fields that may lie in what was padding there.
pub struct Machine {
    pub name: &'static str,
    flags: &'static [&'static str],
    padding: &'static [&'static str],
}

/// The machine of the tests.
pub const HOST: Machine = Machine { name: "", flags: &[], padding: &[] };
/// 32-bit machines that align 64-bit numbers to 8 bytes, Arm for one. The first header had padding there, when there
/// was no library for them yet.
pub const WIDE: Machine = Machine {
    name: "32 bits: ",
    flags: &["-m32", "-malign-double"],
    padding: &["ft_reader size_t reserved_end;", "ft_model_info uint32_t cell_width;"],
};
/// 32-bit x86, which aligns them to 4.
pub const X86: Machine = Machine { name: "32-bit x86: ", flags: &["-m32"], padding: &[] };

/// What breaks programs that were built with the header `released`, a line each.
pub fn breaks(released: &str, now: &str, machine: &Machine) -> Vec<String> {
    let (before, now) = (facts(released, machine), facts(now, machine));
    let sizes: BTreeMap<&str, usize> = before.iter().filter_map(|fact| fact.size()).collect();
    let grows: BTreeSet<&str> =
        before.iter().filter(|fact| fact.text == "uint32_t struct_size;").map(Fact::of).collect();
    let mut kept: BTreeSet<&Fact> = before.iter().filter(|fact| fact.size().is_none()).collect();
    let mut wrong = Vec::new();
    for fact in &now {
        let known =
            kept.remove(fact) || fact.size().is_some_and(|(name, size)| sizes.get(name) == Some(&size));
        let (Some(size), false) = (sizes.get(fact.of()), known) else { continue };
        let padding = format!("{} {}", fact.structure, fact.text);
        if !grows.contains(fact.of()) {
            wrong.push(format!("a struct that cannot grow: {fact}"));
        } else if fact.offset < *size && !machine.padding.contains(&padding.as_str()) {
            wrong.push(format!("not behind the end of its struct: {fact}"));
        }
    }
    wrong.extend(kept.into_iter().map(|fact| format!("gone: {fact}")));
    wrong.into_iter().map(|line| format!("{}{line}", machine.name)).collect()
}

/// A function, type or number of a header; or a field of a struct, at its offset; or, as a field `end`, its size.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    /// Empty for what is no field.
    structure: String,
    offset: usize,
    text: String,
}

impl Fact {
    fn of(&self) -> &str {
        &self.structure
    }

    fn size(&self) -> Option<(&str, usize)> {
        (self.text == "end").then_some((self.of(), self.offset))
    }
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.structure.as_str() {
            "" => f.write_str(&self.text),
            structure => write!(f, "{structure} {} {}", self.offset, self.text),
        }
    }
}

/// All that a header says, as the compiler of such a machine sees it.
fn facts(header: &str, machine: &Machine) -> Vec<Fact> {
    let mut facts = Vec::new();
    // What the compiler works out, it writes into assembler text: that also works for machines whose libraries are not
    // there.
    let mut source = "#include \"flowturbo.h\"\nvoid describe(void) {\n".to_owned();
    let numbers = header.lines().filter_map(|line| line.strip_prefix("#define FT_"));
    for number in numbers.filter(|number| !number.starts_with("VERSION")) {
        let name = format!("FT_{}", number.split_whitespace().next().unwrap());
        let value = format!(r#""i"((long long)({name})), "i"(sizeof({name}))"#);
        let _ = writeln!(source, r#"__asm__("@ 0 #define {name} %c0 of %c1 bytes" :: {value});"#);
    }
    let mut structure = String::new();
    for statement in statements(header) {
        // The end of a block of functions does not begin what follows it.
        let statement = match structure.as_str() {
            "" => statement.trim_start_matches(['}', ' ']).to_owned(),
            _ => statement,
        };
        if let (true, Some(name)) = (statement.ends_with('{'), statement.strip_prefix("typedef struct ")) {
            structure = name.trim_end_matches(" {").to_owned();
        } else if structure.is_empty() {
            facts.push(Fact { structure: String::new(), offset: 0, text: statement });
        } else if statement.starts_with('}') {
            let _ = writeln!(source, r#"__asm__("@{structure} %c0 end" :: "i"(sizeof({structure})));"#);
            structure.clear();
        } else {
            let field = statement.trim_end_matches(';').rsplit([' ', '*']).next().unwrap();
            let _ = writeln!(
                source,
                r#"__asm__("@{structure} %c0 {statement}" :: "i"(offsetof({structure}, {field})));"#
            );
        }
    }
    source.push_str("}\n");
    let folder = made().join("abi");
    let name = format!("{:?}", std::thread::current().id()).replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("flowturbo.h"), header).unwrap();
    let assembler =
        cc(&[machine.flags, &["-ffreestanding", "-S", "-o", "-", "-x", "c"]].concat(), &folder, &source);
    for line in assembler.unwrap().lines().filter_map(|line| line.trim().strip_prefix('@')) {
        let mut words = line.splitn(3, ' ');
        let [structure, offset, text] = [(); 3].map(|()| words.next().unwrap().to_owned());
        facts.push(Fact { structure, offset: offset.parse().unwrap(), text });
    }
    facts
}

/// The statements of a header; C reads `struct ft_x` and `ft_x` as the same type.
fn statements(header: &str) -> Vec<String> {
    let text: String =
        header.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    let text = cc(&["-E", "-P", "-x", "c"], Path::new("."), &text).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text
        .replace("extern \"C\" {", "")
        .replace("typedef struct ", "typedef@")
        .replace("struct ft_", "ft_");
    let text = text.replace("typedef@", "typedef struct ");
    let statements = text.trim().trim_end_matches('}').split_inclusive([';', '{']);
    statements
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// What the C compiler says of a source; none if it refuses.
fn cc(flags: &[&str], folder: &Path, source: &str) -> Option<String> {
    let mut compiler = Command::new("cc");
    compiler.args(flags).arg("-I").arg(folder).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut compiler = compiler.stderr(Stdio::null()).spawn().unwrap();
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// The kinds of machines that the compiler here knows.
pub fn machines() -> Vec<Machine> {
    let knows = |machine: &Machine| {
        let flags = [machine.flags, &["-ffreestanding", "-fsyntax-only", "-x", "c"]].concat();
        cc(&flags, Path::new("."), "").is_some()
    };
    [HOST, WIDE, X86].into_iter().filter(knows).collect()
}
