// Prints the numbers and structs of the C API as a module of JavaScript:
//
//   node header.mjs include/flowturbo.h tests/c/layout-32.txt > header.js

import { readFileSync } from "node:fs";

const [header, layout] = process.argv.slice(2).map((path) => readFileSync(path, "utf8"));

const numbers = {};
for (const [, name, number] of header.matchAll(/^#define (FT_[A-Z0-9_]+) (-?[0-9]+)$/gm)) {
  numbers[name] = Number(number);
}

// A line for a struct and its size, then one for each field, where it begins and its size.
const structs = {};
for (const line of layout.trim().split("\n")) {
  const [name, ...places] = line.split(" ");
  const [struct, field] = name.split(".");
  if (field) structs[struct].fields[field] = places.map(Number);
  else structs[struct] = { size: Number(places[0]), fields: {} };
}

console.log("// Made by bindings/wasm/header.mjs of flowturbo.h and of where its fields are in 32-bit programs.");
console.log(`export const numbers = ${JSON.stringify(numbers, null, 2)};`);
console.log(`export const structs = ${JSON.stringify(structs, null, 2)};`);
