// The package, laid out in target/wasm/package, under Node: node --test bindings/wasm/tests/package.test.mjs

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { inflateSync } from "node:zlib";

const root = new URL("../../../", import.meta.url);
const { FlowTurboError, Model, png } = await import(new URL("target/wasm/package/index.js", root));
const { numbers } = await import(new URL("target/wasm/package/header.js", root));
const PLAN = new URL("models/textures.ftplan", root);
const model = await Model.open(PLAN);
const exact = await Model.open(readFileSync(PLAN), { deterministic: true });

/** Three bytes of each pixel of all images. */
const rgb = (images) => Buffer.concat(images.map(({ data }) => Buffer.from(data.filter((_, i) => i % 4 < 3))));

/** An error of the library's with a status and a message. */
const refusal = (status, message) => (error) =>
  error instanceof FlowTurboError && error.status === status && message.test(error.message) &&
  !error.message.includes("\n");

test("a deterministic model's images are those of every other platform, to the byte", () => {
  const text = readFileSync(new URL("tests/data/deterministic.txt", root), "utf8");
  const known = Object.fromEntries(text.trim().split("\n").map((line) => line.split(": ")));
  const requests = {
    image: { classes: 4, schedule: "H1P1R2", seed: 1 },
    "seamless image": { classes: 5, schedule: "E1", seed: 2, seamless: "both" },
    "unguided image": { classes: 0, schedule: "H1R1", seed: 3, guidance: 1 },
  };
  const session = exact.session();
  for (const [name, request] of Object.entries(requests)) {
    const { images } = session.generateSync(request);
    assert.equal(createHash("sha256").update(rgb(images)).digest("hex"), known[name], name);
  }
  session.close();
});

test("the default model rounds twice, which few pixels show, by a level", () => {
  const request = { classes: "brick", seed: 7, schedule: "H1P1R2" };
  const [fast, slow] = [model, exact].map((one) => rgb(one.session().generateSync(request).images));
  const apart = fast.map((byte, i) => Math.abs(byte - slow[i]));
  assert.ok(Math.max(...apart) <= 1, `${Math.max(...apart)} levels`);
  assert.ok(apart.filter((levels) => levels).length < 0.01 * apart.length);
  assert.deepEqual(rgb(model.session().generateSync(request).images), fast);
});

test("what is known of a model is told", () => {
  const { info } = model;
  assert.deepEqual([info.width, info.height, info.latentShape], [128, 128, [8, 16, 16]]);
  assert.deepEqual([info.cell, info.tiles, info.prompts], [[8, 8], true, false]);
  assert.equal(model.classes.length, info.classCount);
  assert.equal(model.findClass(model.classes[3]), 3n);
  assert.equal(model.presets.length, info.presetCount);
  assert.deepEqual(model.maps, ["color"]);
});

test("a generation leaves the thread its turns, tells of its steps and is what one at a go is", async () => {
  const session = model.session();
  const request = { classes: ["sand", 3], seed: 11n, schedule: "H1P2R1" };
  let [turns, told] = [0, []];
  const timer = setInterval(() => (turns += 1), 1);
  const made = await session.generate({ ...request, progress: ({ made, all }) => told.push([made, all]) });
  clearInterval(timer);
  assert.ok(turns > 3, `${turns} turns`);
  // Steps that one turn makes are told of at once.
  const steps = told.map(([made]) => made);
  assert.deepEqual(steps, [...new Set(steps)].sort());
  assert.ok(steps.length > 2 && told.every(([, all]) => all === 4), `${told}`);
  assert.deepEqual(told.at(-1), [4, 4]);
  assert.deepEqual(session.steps, { made: 4, all: 4 });
  const again = model.session().generateSync(request);
  assert.deepEqual(rgb(made.images), rgb(again.images));
  assert.deepEqual(made.latents, again.latents);
  assert.deepEqual(rgb(session.decode(made.latents)), rgb(made.images));
  assert.equal(session.preview()[0].width, 16);
});

test("a signal stops a generation, and the session goes on", async () => {
  const session = model.session();
  const stop = new AbortController();
  const request = { classes: "grass", schedule: "E1" };
  const stopped = session.generate({ classes: "grass", progress: () => stop.abort(), signal: stop.signal });
  await assert.rejects(stopped, { name: "AbortError" });
  await assert.rejects(session.generate({ ...request, signal: stop.signal }), { name: "AbortError" });
  assert.equal((await session.generate(request)).images.length, 1);
  const [given, kept] = [session.generate(request), session.generate(request)];
  await assert.rejects(given, refusal("FT_ERROR_CANCELLED", /another one/));
  assert.equal((await kept).images.length, 1);
});

test("every field of a request arrives", () => {
  const session = model.session();
  const quick = { classes: [1], seed: 5, schedule: "E2" };
  const plain = session.generateSync(quick);
  const [{ data, width, height }] = plain.images;
  const noise = new Float32Array(8 * 16 * 16).map((_, i) => Math.sin(i));
  const changes = {
    classes: [2],
    seed: 2n ** 63n,
    seeds: [6],
    streams: [1],
    schedule: "H1R1",
    guidance: 1.5,
    noise,
    seamless: "x",
    variation: 0.5,
    morphAmounts: [0.5],
    init: plain.images,
  };
  const beside = {
    variation: { variationSeed: 9 },
    morphAmounts: { morphClasses: ["sand"] },
    init: { strength: 0.5, mask: new Uint8Array(width * height).fill(255, 0, 6000) },
  };
  for (const [name, value] of Object.entries(changes)) {
    const made = session.generateSync({ ...quick, [name]: value, ...beside[name] });
    assert.notDeepEqual(rgb(made.images), rgb(plain.images), name);
    // What the mask keeps is kept.
    if (name === "init") assert.deepEqual(made.images[0].data.slice(4 * 6000), data.slice(4 * 6000));
  }
  // The plan has no other size than the model's own, which tells that one arrived.
  const larger = () => session.generateSync({ ...quick, size: [136, 144] });
  assert.throws(larger, refusal("FT_ERROR_UNSUPPORTED", /18 x 17 cells/));
  const latents = session.generateSync({ ...quick, output: "latents" });
  assert.deepEqual([latents.images, latents.latents], [[], plain.latents]);
  assert.deepEqual(rgb(session.generateSync({ ...quick, guidance: null }).images), rgb(plain.images));
});

test("bytes as numbers are near, and other precisions are refused by name", async () => {
  const small = await Model.open(PLAN, { precision: "int8" });
  const [bytes, floats] = [small, model].map((one) =>
    rgb(one.session().generateSync({ classes: "brick", seed: 7, schedule: "E2" }).images),
  );
  const mean = bytes.reduce((sum, byte, i) => sum + Math.abs(byte - floats[i]), 0) / bytes.length;
  assert.ok(mean > 0 && mean < 8, `${mean} levels`);
  await assert.rejects(Model.open(PLAN, { precision: "bf16" }), /there are f32, f16-weights, int8/);
});

test("bad input is refused by one line that names it", async () => {
  const session = model.session();
  const argument = (message) => refusal("FT_ERROR_INVALID_ARGUMENT", message);
  for (const [request, wrong] of [
    [{ classes: "brik" }, argument(/brik.*brick/)],
    [{ classes: 99 }, argument(/99/)],
    [{}, argument(/image_count|classes/)],
    [{ classes: 1, schedule: "Q3" }, argument(/schedule/)],
    [{ classes: 1, size: [64, 64] }, argument(/width|size/)],
    [{ class: 1 }, /no field 'class'/],
    [{ classes: 1.5 }, /classes 1.5/],
    [{ classes: 1, seed: -1 }, /seed -1/],
    [{ classes: 1, seed: 2 ** 60 }, /seed 1152921504606847000: must be a whole number/],
    [{ classes: 1, seeds: [1, 2] }, /seeds: 2 of them for 1 images/],
    [{ classes: 1, seamless: "z" }, /seamless 'z'/],
    [{ classes: 1, noise: [1] }, /noise: must be a Float32Array/],
    [{ classes: 1, noise: new Float32Array(3) }, argument(/noise/)],
    [{ classes: 1, init: { width: 2, height: 2, data: [] } }, /init/],
    [{ classes: 1, output: "sound" }, /output 'sound'/],
    [{ prompts: "a\0b" }, /NUL/],
    [{ prompts: "stone" }, argument(/prompt/)],
    [{ classes: 1, progress: () => {} }, /no field 'progress'/],
  ]) {
    assert.throws(() => session.generateSync(request), wrong, JSON.stringify(Object.keys(request)));
  }
  assert.throws(() => session.finish(), argument(/nothing/));
  assert.throws(() => session.map("normals"), /no map is called 'normals'/);
  assert.equal(session.generateSync({ classes: 1, schedule: "E1" }).images.length, 1);
  for (const threads of [0, 65, 1.5, "2"]) {
    const refused = /^TypeError: threads .*: must be (from 1 to 64|a whole number)$/;
    await assert.rejects(Model.open(PLAN, { threads }), refused);
  }
  await assert.rejects(Model.open(new URL("no.ftplan", root)), refusal("FT_ERROR_IO", /no\.ftplan/));
  // Weights are looked at when they are first used.
  const broken = readFileSync(PLAN).fill(7, 5e6, 5.1e6);
  const used = Model.open(broken).then((one) => one.session().generateSync({ classes: 1 }));
  await assert.rejects(used, refusal("FT_ERROR_INVALID_BUNDLE", /hash|damaged|weights/));
  await assert.rejects(Model.open(new Uint8Array(100)), refusal("FT_ERROR_INVALID_BUNDLE", /./));
});

test("what was closed is refused, and models may go before their sessions", async () => {
  const other = await Model.open(PLAN);
  const session = other.session();
  other.close();
  other.close();
  assert.throws(() => other.session(), refusal("FT_ERROR_INVALID_ARGUMENT", /model/));
  assert.equal(session.generateSync({ classes: 1, schedule: "E1" }).images.length, 1);
  session.close();
  assert.throws(() => session.generateSync({ classes: 1 }), refusal("FT_ERROR_INVALID_ARGUMENT", /session/));
});

test("memory that was taken is taken again: twenty models, two hundred generations", async () => {
  const { library } = model;
  let after;
  for (let i = 0; i < 20; i++) {
    const other = await Model.open(PLAN);
    const session = other.session();
    for (let j = 0; j < 10; j++) session.generateSync({ classes: 1, schedule: "E1", seed: j, output: "latents" });
    session.close();
    other.close();
    // The first few find out how much is needed.
    if (i === 3) after = library.size;
  }
  assert.equal(library.size, after);
});

test("threads make the images that one thread makes, to the byte", async () => {
  const request = { classes: ["brick", "sand"], seed: 7, schedule: "H1P1R2", seamless: "both" };
  for (const options of [{}, { deterministic: true }, { precision: "int8" }]) {
    const one = await Model.open(PLAN, options);
    const made = one.session().generateSync(request);
    assert.deepEqual([one.threads, one.unthreaded], [1, null]);
    for (const threads of [2, 3]) {
      const more = await Model.open(PLAN, { ...options, threads });
      assert.deepEqual([more.threads, more.unthreaded], [threads, null]);
      const session = more.session();
      const again = await session.generate(request);
      assert.deepEqual(rgb(again.images), rgb(made.images), `${threads} ${JSON.stringify(options)}`);
      assert.deepEqual(again.latents, made.latents);
      more.close();
      session.close();
    }
    one.close();
  }
});

test("threads come back with their model, models have their own, and memory is taken again", async () => {
  const both = await Promise.all([3, 3].map((threads) => Model.open(PLAN, { threads })));
  const { library } = both[0];
  assert.notEqual(library, model.library);
  for (const one of both) one.session().generateSync({ classes: 1, schedule: "E1", output: "latents" });
  for (const one of both) one.close();
  let after;
  for (let i = 0; i < 12; i++) {
    const other = await Model.open(PLAN, { threads: 3 });
    const session = other.session();
    for (let j = 0; j < 5; j++) session.generateSync({ classes: 1, schedule: "E1", seed: j, output: "latents" });
    session.close();
    other.close();
    if (i === 3) after = library.size;
  }
  assert.equal(library.size, after);
  await assert.rejects(Model.open(new Uint8Array(100), { threads: 2 }), refusal("FT_ERROR_INVALID_BUNDLE", /./));
});

test("a thread that fails ends the library with what it said, and who waits for it goes on", () => {
  // A program of its own: a library that is lost stays so. The thread calls what is no function.
  const program = `
    import { Model } from ${JSON.stringify(new URL("target/wasm/package/index.js", root))};
    const { library } = await Model.open(${JSON.stringify(fileURLToPath(PLAN))}, { threads: 2 });
    const { imports } = library.crew;
    const place = library.take(4);
    const workers = await library.crew.gather(1);
    console.log(library.crew.lend(workers, () => imports.pthread_create(place, 0, 1 << 30, 0)));
    try {
      imports.pthread_join(library.view.getUint32(place, true));
    } catch ({ status, message }) {
      console.log(status, message);
    }`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
    timeout: 60_000,
  });
  assert.match(stdout, /^0\nFT_ERROR_PANIC a mistake inside flowturbo.*WebAssembly.*\n$/, stderr);
});

test("files of images are PNG", async () => {
  const image = { width: 3, height: 2, data: Uint8Array.from({ length: 24 }, (_, i) => 10 * i) };
  const file = Buffer.from(await png(image));
  assert.equal(file.subarray(1, 4).toString(), "PNG");
  const at = file.indexOf("IDAT");
  const rows = inflateSync(file.subarray(at + 4, at + 4 + file.readUInt32BE(at - 4)));
  assert.deepEqual([...rows], [0, 0, 10, 20, 40, 50, 60, 80, 90, 100, 0, 120, 130, 140, 160, 170, 180, 200, 210, 220]);
});

test("functions of the header are all there", () => {
  const header = readFileSync(new URL("include/flowturbo.h", root), "utf8");
  const declared = new Set([...header.matchAll(/\b(ft_[a-z0-9_]+)\(/g)].map(([, name]) => name));
  for (const name of ["flowturbo", "flowturbo-threads"]) {
    const module = new WebAssembly.Module(readFileSync(new URL(`target/wasm/package/${name}.wasm`, root)));
    const exported = WebAssembly.Module.exports(module).map((one) => one.name);
    assert.deepEqual(exported.filter((one) => one.startsWith("ft_")).sort(), [...declared].sort(), name);
  }
  assert.equal(numbers.FT_ERROR_OUT_OF_MEMORY, 12);
});
