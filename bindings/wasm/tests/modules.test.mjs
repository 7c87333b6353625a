// How the package's modules are made: node --test bindings/wasm/tests/modules.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import { finished } from "../modules.mjs";

const [V128, F32, SPLAT, CALL] = [0x7b, 0x7d, [0xfd, 0x13], 0x10];
const text = (name) => [name.length, ...Buffer.from(name)];
const section = (number, bytes) => [number, bytes.length, ...bytes];
/** Sixteen bytes that look like calls of function 0, let go. */
const lookAlike = [0xfd, 0x0c, ...Array.from({ length: 16 }, (_, i) => (i % 2 ? 0 : CALL)), 0x1a];
const operand = (local) => [0x20, local, ...SPLAT];
const code = [0, ...lookAlike, ...operand(0), ...operand(1), ...operand(2), CALL, 0, 0xfd, 0x1f, 0, 0x0b];
const made = Uint8Array.from([
  0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, [2, 0x60, 3, V128, V128, V128, 1, V128, 0x60, 3, F32, F32, F32, 1, F32]),
  ...section(2, [2, ...text("env"), ...text("multiply_add"), 0, 0, ...text("env"), ...text("memory"), 2, 3, 1, 2]),
  ...section(3, [1, 1]),
  ...section(7, [1, ...text("f"), 0, 1]),
  ...section(10, [1, code.length, ...code]),
]);
const multiply_add = () => assert.fail("called");
const memory = (shared) => new WebAssembly.Memory({ initial: 1, maximum: 2, shared });

test("a call of multiply_add becomes a product, rounded, and a sum, rounded", async () => {
  const imports = { env: { multiply_add, memory: memory(true) } };
  const { instance } = await WebAssembly.instantiate(finished(made), imports);
  assert.equal(instance.exports.f(3, 5, 7), 22);
  // Rounded once it were 2^-24 more.
  assert.equal(instance.exports.f(1 + 2 ** -12, 1 + 2 ** -12, -1), 2 ** -11);
});

test("a module's memory is shared only where that is wanted", async () => {
  const imports = { env: { multiply_add, memory: memory(false) } };
  const module = await WebAssembly.compile(finished(made, { shared: false }));
  assert.equal((await WebAssembly.instantiate(module, imports)).exports.f(2, 2, 2), 6);
  await assert.rejects(WebAssembly.instantiate(finished(made), imports), WebAssembly.LinkError);
});

test("what is no module is refused, and nothing is written over", () => {
  const before = Uint8Array.from(made);
  finished(made, { shared: false });
  assert.deepEqual(made, before);
  assert.throws(() => finished(made.subarray(0, made.length - 4)), /cut short/);
  const strange = Uint8Array.from(made);
  strange[strange.lastIndexOf(CALL)] = 0x12;
  assert.throws(() => finished(strange), /not known here: 0x12/);
});
