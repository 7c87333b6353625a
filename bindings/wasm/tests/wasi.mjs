// Runs a program for WASI: node wasi.mjs PROGRAM ARGUMENTS

import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";
import { missing } from "../missing.js";
import { finished } from "../modules.mjs";

// That it is an experiment of Node's is known.
process.removeAllListeners("warning");
const args = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args, env: process.env });
const { instance } = await WebAssembly.instantiate(finished(await readFile(args[0])), {
  ...wasi.getImportObject(),
  env: missing,
});
process.exitCode = wasi.start(instance);
