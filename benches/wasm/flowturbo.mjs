// A generation by the package for each line that comes in, which is the noise to begin with:
// node flowturbo.mjs PLAN SCHEDULE [deterministic|int8|threads]

import { createInterface } from "node:readline";

const [plan, schedule, kind] = process.argv.slice(2);
const { Model } = await import(new URL("../../target/wasm/package/index.js", import.meta.url));
const options = {
  deterministic: kind === "deterministic",
  precision: kind === "int8" ? "int8" : "f32",
  threads: kind === "threads" ? 2 : 1,
};
const session = (await Model.open(plan, options)).session();
for await (const line of createInterface({ input: process.stdin })) {
  const noise = Float32Array.from(JSON.parse(line));
  const [begun, used] = [performance.now(), process.cpuUsage()];
  const { images, latents } = session.generateSync({ classes: 0, noise, schedule });
  const took = performance.now() - begun;
  const { user, system } = process.cpuUsage(used);
  const times = { took, used: (user + system) / 1000 };
  console.log(JSON.stringify({ ...times, latents: [...latents], image: [...images[0].data] }));
}
