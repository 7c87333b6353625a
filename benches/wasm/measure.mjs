// Generations in WebAssembly beside peers, one thread each but for `--threads`, in turns:
//
//   node benches/wasm/measure.mjs [--turns N] [--onnx FOLDER] [--native PROGRAM] [--threads] [--all]
//
// The package is in target/wasm/package (bindings/wasm/build). `--onnx` is where npm put onnxruntime-web, `--native` a
// program of benches/bindings/calls.c; `--threads` has the package with two, `--all` its other options too. Prints
// quartiles of the milliseconds, of the ratio to the package in the same turn, and of that of the processor's time,
// which other programs disturb less.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    turns: { type: "string", default: "10" },
    schedule: { type: "string", default: "H1P6R5" },
    onnx: { type: "string" },
    native: { type: "string" },
    all: { type: "boolean", default: false },
    threads: { type: "boolean", default: false },
  },
});
const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const plan = path("../../models/textures.ftplan");

class Program {
  constructor(command, ...args) {
    this.child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async generate(line) {
    this.child.stdin.write(`${line}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.child.spawnargs.join(" ")}: ended`);
    if (value.startsWith("{")) return JSON.parse(value);
    // Of calls.c, in seconds.
    return { took: 1000 * Number(value.split(" ")[0]) };
  }
}

const ours = (kind = "") => new Program(process.execPath, path("flowturbo.mjs"), plan, values.schedule, kind);
const programs = { flowturbo: ours() };
if (values.threads) programs["... two threads"] = ours("threads");
if (values.all) Object.assign(programs, { "... int8": ours("int8"), "... deterministic": ours("deterministic") });
if (values.onnx) {
  const bundle = path("../../models/textures");
  const command = [path("onnx.mjs"), bundle, values.schedule, values.onnx];
  programs["onnxruntime-web"] = new Program(process.execPath, ...command);
}
if (values.native) programs.native = new Program(values.native, plan, values.schedule, "1");

/** Noise of a kind that is always the same. */
const noise = [];
for (let state = 1; noise.length < 8 * 16 * 16; ) {
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
  noise.push(Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}
const line = JSON.stringify(noise);

// Twice beforehand: engines compile what they find is used often.
let first;
for (const [name, program] of Object.entries(programs)) {
  await program.generate(line.slice(0, name === "native" ? 0 : undefined));
  const { image } = await program.generate(name === "native" ? "" : line);
  first ??= image;
  if (!image) continue;
  const apart = image.map((byte, i) => Math.abs(byte - first[i]));
  const mean = apart.reduce((sum, levels) => sum + levels, 0) / apart.length;
  console.log(`${name}: levels from the first's image: ${Math.max(...apart)} at most, ${mean.toFixed(4)} on average`);
}

const taken = Object.fromEntries(Object.keys(programs).map((name) => [name, []]));
for (let turn = 0; turn < Number(values.turns); turn++) {
  const names = Object.keys(programs);
  for (const [i] of names.entries()) {
    const name = names[(i + turn) % names.length];
    taken[name].push(await programs[name].generate(name === "native" ? "" : line));
  }
}
for (const { child } of Object.values(programs)) child.stdin.end();

function quartiles(numbers, digits) {
  const ranked = numbers.toSorted((a, b) => a - b);
  return [1, 2, 3].map((quarter) => ranked[Math.floor((ranked.length * quarter) / 4)].toFixed(digits)).join(", ");
}
const machine = `${values.schedule}, ${values.turns} turns, Node ${process.version}`;
console.log(`${machine}: milliseconds, times the first's, and of the processor's time; processors that it had`);
for (const [name, turns] of Object.entries(taken)) {
  const ratios = (field) => turns.map((made, turn) => made[field] / taken.flowturbo[turn][field]);
  const milliseconds = quartiles(turns.map(({ took }) => took), 0);
  const had = () => quartiles(turns.map(({ took, used }) => used / took), 2);
  const used = turns[0].used ? `${quartiles(ratios("used"), 2)} | ${had()}` : "|";
  console.log(`| ${name} | ${milliseconds} | ${quartiles(ratios("took"), 2)} | ${used} |`);
}
