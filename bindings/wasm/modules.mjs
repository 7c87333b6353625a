// The package's modules, made of the one that the compiler makes: node modules.mjs MADE FOLDER
//
// Products that are added are calls there, which keeps them in order (`multiply_add`, crates/kernels/src/simd/wasm.rs).
// Here each becomes the two instructions. And one module's memory is not shared.

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const CALL = 0x10;
const [LOCAL_GET, LOCAL_SET] = [0x20, 0x21];
const [MULTIPLY, ADD] = [[0xfd, 0xe6, 0x01], [0xfd, 0xe4, 0x01]];
const V128 = 0x7b;
const SECTION = { types: 1, imports: 2, functions: 3, code: 10 };
const IMPORT = { function: 0, table: 1, memory: 2, global: 3 };
const SHARED = 2;

/** Bytes of a module, one after another. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  byte() {
    return this.bytes[this.at++];
  }

  /** A whole number; its sign is nobody's business here. */
  number() {
    let [value, shift, byte] = [0, 1, 0];
    do {
      byte = this.byte();
      value += (byte & 127) * shift;
      shift *= 128;
    } while (byte & 128);
    return value;
  }

  numbers(count) {
    for (; count > 0; count--) this.number();
  }

  /** The next so many bytes, as a reader of their own. */
  part(size) {
    if (this.at + size > this.bytes.length) throw new Error("the module is cut short");
    const part = new Reader(this.bytes.subarray(this.at, this.at + size));
    this.at += size;
    return part;
  }

  get ended() {
    return this.at >= this.bytes.length;
  }
}

function encoded(number) {
  const bytes = [];
  for (; number > 127; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
  return [...bytes, number];
}

/** Goes past what belongs to an instruction, by the tables of WebAssembly's specification. */
function pass(reader, instruction) {
  const between = (first, last, number = instruction) => number >= first && number <= last;
  if (instruction === 0x0e) reader.numbers(reader.number() + 1);
  else if (instruction === 0x1c) reader.numbers(reader.number());
  else if (instruction === 0x11 || between(0x28, 0x3e)) reader.numbers(2);
  else if (instruction === 0x43) reader.at += 4;
  else if (instruction === 0x44) reader.at += 8;
  else if (instruction === 0xfc) {
    const number = reader.number();
    if ([8, 10, 12, 14].includes(number)) reader.numbers(2);
    else if (number > 7) reader.number();
  } else if (instruction === 0xfd) {
    const number = reader.number();
    if (between(12, 13, number)) reader.at += 16;
    else if (between(0, 11, number) || between(84, 93, number)) reader.numbers(2);
    if (between(21, 34, number) || between(84, 91, number)) reader.at += 1;
  } else if (instruction === 0xfe) {
    if (reader.number() === 3) reader.at += 1;
    else reader.numbers(2);
  } else if (between(0x02, 0x04) || between(0x0c, 0x0d) || between(0x20, 0x26) || between(0x3f, 0x42) ||
    [CALL, 0xd0, 0xd2].includes(instruction)) {
    reader.number();
  } else if (!between(0x45, 0xc4) && ![0x00, 0x01, 0x05, 0x0b, 0x0f, 0x1a, 0x1b, 0xd1].includes(instruction)) {
    throw new Error(`an instruction that is not known here: 0x${instruction.toString(16)}`);
  }
}

/** Parameters of each type. */
function parameters(reader) {
  return Array.from({ length: reader.number() }, () => {
    reader.byte();
    const count = reader.number();
    reader.part(count);
    reader.part(reader.number());
    return count;
  });
}

/** Marks memories as `shared` or not, and gives the number of the function `multiply_add`. */
function imports(reader, shared) {
  let [functions, found] = [0, -1];
  const limits = () => reader.numbers(reader.byte() & 1 ? 2 : 1);
  for (let count = reader.number(); count > 0; count--) {
    reader.part(reader.number());
    const name = Buffer.from(reader.part(reader.number()).bytes).toString();
    const kind = reader.byte();
    if (kind === IMPORT.function) {
      if (name === "multiply_add") found = functions;
      functions += 1;
      reader.number();
    } else if (kind === IMPORT.memory) {
      if (!shared) reader.bytes[reader.at] &= ~SHARED;
      limits();
    } else {
      reader.byte();
      if (kind === IMPORT.table) limits();
      else reader.byte();
    }
  }
  return found;
}

/** A function's code, its calls of `called` written as instructions. */
function inlined(reader, called, parameters) {
  const groups = reader.number();
  const first = reader.at;
  let local = parameters;
  for (let i = 0; i < groups; i++) {
    local += reader.number();
    reader.byte();
  }
  const { bytes, at: start } = reader;
  // The third operand lies on the others.
  const instead = [LOCAL_SET, ...encoded(local), ...MULTIPLY, LOCAL_GET, ...encoded(local), ...ADD];
  const parts = [];
  let kept = start;
  while (!reader.ended) {
    const { at } = reader;
    const instruction = reader.byte();
    if (instruction !== CALL) pass(reader, instruction);
    else if (reader.number() === called) {
      parts.push(bytes.subarray(kept, at), Uint8Array.from(instead));
      kept = reader.at;
    }
  }
  if (parts.length === 0) return bytes;
  const locals = [...encoded(groups + 1), ...bytes.subarray(first, start), 1, V128];
  return Buffer.concat([Uint8Array.from(locals), ...parts, bytes.subarray(kept)]);
}

/** The module that an engine takes, of `made`: its memory is shared if it was, and unless that is not wanted. */
export function finished(made, { shared = true } = {}) {
  const reader = new Reader(Uint8Array.from(made));
  const parts = [reader.part(8).bytes];
  let [called, counts, types] = [-1, [], []];
  while (!reader.ended) {
    const section = reader.byte();
    const content = reader.part(reader.number());
    let { bytes } = content;
    if (section === SECTION.types) counts = parameters(content);
    if (section === SECTION.imports) called = imports(content, shared);
    if (section === SECTION.functions) types = Array.from({ length: content.number() }, () => content.number());
    if (section === SECTION.code) {
      const functions = Array.from({ length: content.number() }, (_, i) => {
        const code = inlined(content.part(content.number()), called, counts[types[i]]);
        return [Uint8Array.from(encoded(code.length)), code];
      });
      bytes = Buffer.concat([Uint8Array.from(encoded(functions.length)), ...functions.flat()]);
    }
    parts.push(Uint8Array.from([section, ...encoded(bytes.length)]), bytes);
  }
  const module = Buffer.concat(parts);
  // Throws where that is none.
  new WebAssembly.Module(module);
  return module;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [made, folder] = process.argv.slice(2);
  const bytes = readFileSync(made);
  writeFileSync(`${folder}/flowturbo-threads.wasm`, finished(bytes));
  writeFileSync(`${folder}/flowturbo.wasm`, finished(bytes, { shared: false }));
}
