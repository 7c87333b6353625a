// The demo, in a headless Chromium: node --test bindings/wasm/tests/browser.test.mjs
// PLAYWRIGHT says where playwright-core lies, CHROMIUM where the browser does.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "./server.mjs";

const root = new URL("../../../", import.meta.url);
const path = (name) => fileURLToPath(new URL(name, root));
const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT ?? "playwright-core");
let server, browser, page;
const complaints = [];

before(async () => {
  const served = await serve(path("target/wasm/demo"));
  ({ server } = served);
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  page = await browser.newPage({ viewport: { width: 1000, height: 960 } });
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(served.address);
  await page.waitForSelector("#generate:enabled", { timeout: 60_000 });
});

after(async () => {
  await browser?.close();
  server?.close();
  assert.deepEqual(complaints, []);
});

const status = () => page.textContent("#status");
/** How much the bytes of a canvas differ from their mean, and how much its left half differs from its neighbour. */
const spread = (id) =>
  page.evaluate((id) => {
    const { data } = document.getElementById(id).getContext("2d").getImageData(0, 0, 128, 128);
    const mean = data.reduce((sum, byte) => sum + byte, 0) / data.length;
    return Math.sqrt(data.reduce((sum, byte) => sum + (byte - mean) ** 2, 0) / data.length);
  }, id);

test("a material and a seed become an image, tiled and lit, and progress moves meanwhile", async () => {
  await page.evaluate(() => {
    globalThis.seen = [];
    new MutationObserver(() => globalThis.seen.push(document.getElementById("progress").value)).observe(
      document.getElementById("status"), { childList: true },
    );
  });
  const label = (await page.locator("#class option").allTextContents()).find((text) => text.includes("brick"));
  await page.selectOption("#class", { label });
  await page.click("#generate");
  await page.waitForFunction(() => /Made in/.test(document.getElementById("status").textContent), null, {
    timeout: 120_000,
  });
  const seen = await page.evaluate(() => globalThis.seen);
  assert.ok(new Set(seen).size > 5, `${seen}`);
  assert.ok((await spread("image")) > 10 && (await spread("tiled")) > 10);
  await page.hover("#tiled", { position: { x: 120, y: 100 } });
  await page.screenshot({ path: path("target/wasm/demo.png") });
});

test("cancel ends a generation soon, and the next one works", async () => {
  await page.click("#generate");
  await page.waitForFunction(() => /Step 1/.test(document.getElementById("status").textContent));
  const asked = Date.now();
  await page.click("#cancel");
  await page.waitForFunction(() => document.getElementById("status").textContent === "Cancelled.");
  assert.ok(Date.now() - asked < 2000, `${Date.now() - asked} ms`);
  await page.click("#generate");
  await page.waitForFunction(() => /Made in/.test(document.getElementById("status").textContent), null, {
    timeout: 120_000,
  });
});

test("mistakes come out of a worker as they are", async () => {
  const told = await page.evaluate(async () => {
    const { ModelWorker } = await import("flowturbo/worker");
    const failed = (promise) => promise.then(() => "nothing", ({ name, status, message }) => [name, status, message]);
    const model = await ModelWorker.open("textures.ftplan");
    const all = [
      await failed(model.generate({ classes: "brik" })),
      await failed(model.generate({ classes: 1, seamless: "z" })),
      await failed(ModelWorker.open("no.ftplan")),
    ];
    const waits = failed(model.generate({ classes: 1 }));
    model.close();
    return [...all, await waits];
  });
  assert.deepEqual(told.map(([name, status]) => [name, status]), [
    ["FlowTurboError", "FT_ERROR_INVALID_ARGUMENT"],
    ["TypeError", undefined],
    ["FlowTurboError", "FT_ERROR_IO"],
    ["FlowTurboError", "FT_ERROR_CANCELLED"],
  ]);
  assert.match(told[0][2], /brick/);
  assert.match(told[2][2], /404/);
});

/** The image of a model in a worker of the page, and what that says of its threads. */
const generated = (page, options) =>
  page.evaluate(async (options) => {
    const { ModelWorker } = await import("flowturbo/worker");
    const model = await ModelWorker.open("textures.ftplan", options);
    const { images } = await model.generate({ classes: 4, schedule: "H1P1R2", seed: 1 });
    model.close();
    return { bytes: [...images[0].data], threads: model.threads, unthreaded: model.unthreaded };
  }, options);

test("threads make the image that one thread makes, to the byte, in a worker of an isolated page", async () => {
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  const one = await generated(page, {});
  assert.deepEqual([one.threads, one.unthreaded], [1, null]);
  for (const threads of [2, 3]) {
    const more = await generated(page, { threads });
    assert.deepEqual([more.threads, more.unthreaded], [threads, null]);
    assert.deepEqual(more.bytes, one.bytes);
  }
  const deterministic = [{}, { threads: 2 }].map((options) => generated(page, { ...options, deterministic: true }));
  const [alone, both] = await Promise.all(deterministic);
  assert.deepEqual(both.bytes, alone.bytes);
});

test("where the page is not isolated, or may not wait, there is one thread, and it is said why", async () => {
  const onPage = await page.evaluate(async () => {
    const { Model } = await import(new URL("flowturbo/index.js", location.href));
    const model = await Model.open("textures.ftplan", { threads: 2 });
    return [model.threads, model.unthreaded];
  });
  assert.equal(onPage[0], 1);
  assert.match(onPage[1], /^one thread: .*worker/);
  const open = await serve(path("target/wasm/demo"), { isolated: false });
  const other = await browser.newPage();
  await other.goto(open.address);
  const one = await generated(other, { threads: 2 });
  assert.equal(one.threads, 1);
  assert.match(one.unthreaded, /^one thread: .*cross-origin isolated/);
  assert.deepEqual(one.bytes, (await generated(page, {})).bytes);
  await other.close();
  open.server.close();
});

test("a deterministic model's image in the browser is that of every other platform, to the byte", async () => {
  const bytes = await page.evaluate(async () => {
    const { ModelWorker } = await import("flowturbo/worker");
    const model = await ModelWorker.open("textures.ftplan", { deterministic: true });
    const { images } = await model.generate({ classes: 4, schedule: "H1P1R2", seed: 1 });
    model.close();
    return [...images[0].data];
  });
  const known = readFileSync(path("tests/data/deterministic.txt"), "utf8").match(/^image: (.*)$/m)[1];
  const rgb = Buffer.from(bytes.filter((_, i) => i % 4 < 3));
  assert.equal(createHash("sha256").update(rgb).digest("hex"), known);
});
