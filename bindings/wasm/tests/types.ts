// What the types of the package allow, and what they do not; checked by tsc, never run.

import { FlowTurboError, Model, png, type Generation, type Picture } from "../../../target/wasm/package/index.js";

const model: Model = await Model.open("textures.ftplan", { deterministic: true, precision: "int8", threads: 2 });
const why: string | null = model.unthreaded;
const session = model.session();
const stop = new AbortController();
const made: Generation = await session.generate({
  classes: ["brick", 3, 4n],
  seed: 2n ** 63n,
  size: [256, 128],
  seamless: "both",
  progress: ({ made, all }) => console.log(made / all),
  signal: stop.signal,
});
const picture: Picture = made.images[0];
const file: Uint8Array = await png(picture);
const heights: Picture[] = session.map("height");
// @ts-expect-error No such axis.
session.begin({ classes: 1, seamless: "z" });
// @ts-expect-error Nobody could be told.
session.generateSync({ classes: 1, progress: () => {} });
// @ts-expect-error Only Model.open makes them.
new Model();
// @ts-expect-error No such number.
await Model.open("textures.ftplan", { precision: "bf16" });
const wrong: string = new FlowTurboError("FT_ERROR_IO", "").status;
export { file, heights, why, wrong };
