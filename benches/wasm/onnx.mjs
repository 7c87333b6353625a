// The same generation by onnxruntime-web for each line that comes in, which is the noise to begin with:
// node onnx.mjs BUNDLE SCHEDULE ONNXRUNTIME-WEB

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [bundle, schedule, where] = process.argv.slice(2);
const ort = await import(pathToFileURL(resolve(where, "dist/ort.node.min.mjs")));
ort.env.wasm.numThreads = 1;
const manifest = JSON.parse(readFileSync(join(bundle, "bundle.json"), "utf8"));
const { channels, height, width } = manifest.latent;
// What this sampler takes for granted.
if (!manifest.guidance.refiner_guided || manifest.guidance.channels !== channels) throw new Error("another guidance");
const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
const open = (role) => ort.InferenceSession.create(readFileSync(join(bundle, `${role}.onnx`)), options);
const [predictor, refiner, decoder] = [await open("predictor"), await open("refiner"), await open("decoder")];

const size = channels * height * width;
const shape = (images) => [images, channels, height, width];
const floats = (data, dims) => new ort.Tensor("float32", data, dims);
const classes = (...numbers) => new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), [numbers.length]);
const NULL = manifest.classes.null;
const scale = manifest.sampling.guidance;

/** The guided velocity at `x` and time `t`. */
async function predict(x, t) {
  const both = new Float32Array(2 * size);
  both.set(x);
  both.set(x, size);
  const feeds = { x: floats(both, shape(2)), t: floats(Float32Array.of(t, t), [2]), y: classes(0, NULL) };
  const { data } = (await predictor.run(feeds))[manifest.networks.predictor.output];
  return Float32Array.from({ length: size }, (_, i) => data[size + i] + scale * (data[i] - data[size + i]));
}

/** The velocity by the cached one. */
async function refine(x, v, t) {
  const feeds = { x: floats(x, shape(1)), v: floats(v, shape(1)), t: floats(Float32Array.of(t), [1]), y: classes(0) };
  return (await refiner.run(feeds))[manifest.networks.refiner.output].data;
}

const add = (a, b) => a.map((value, i) => value + b[i]);
const along = (x, d, delta) => x.map((value, i) => value + delta * d[i]);
const mean = (a, b) => a.map((value, i) => (value + b[i]) / 2);

/** Heun, pseudo-corrector and refiner steps (arXiv 2409.18128, section 3.3). */
async function sample(x) {
  const kinds = schedule.replace(/([HPR])(\d+)/g, (_, kind, count) => kind.repeat(count));
  const delta = 1 / kinds.length;
  let v;
  for (const [i, kind] of [...kinds].entries()) {
    const [t, end] = [i * delta, (i + 1) * delta];
    if (kind === "R") {
      const d = add(await refine(x, v, t), v);
      x = along(x, mean(d, add(await refine(along(x, d, delta), v, end), d)), delta);
      v = d;
    } else {
      const d = kind === "P" && v ? v : await predict(x, t);
      v = await predict(along(x, d, delta), end);
      x = along(x, mean(d, v), delta);
    }
  }
  return x;
}

for await (const line of createInterface({ input: process.stdin })) {
  const noise = Float32Array.from(JSON.parse(line));
  const [begun, used] = [performance.now(), process.cpuUsage()];
  const latents = await sample(noise);
  const { decoder: network } = manifest.networks;
  const feeds = { [Object.values(network.inputs)[0]]: floats(latents, shape(1)) };
  const { data, dims } = (await decoder.run(feeds))[network.output];
  const area = dims[2] * dims[3];
  const image = new Uint8ClampedArray(4 * area).fill(255);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) image[4 * i + c] = (data[c * area + i] + 1) * 127.5;
  }
  const took = performance.now() - begun;
  const { user, system } = process.cpuUsage(used);
  console.log(JSON.stringify({ took, used: (user + system) / 1000, latents: [...latents], image: [...image] }));
}
