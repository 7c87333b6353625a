// What is asked of a session, and the library's struct of it.

import { numbers } from "./header.js";

const SEAMLESS = { x: numbers.FT_TILE_X, y: numbers.FT_TILE_Y, both: numbers.FT_TILE_BOTH };
const KNOWN = new Set([
  "classes", "prompts", "negativePrompt", "context", "negativeContext", "seed", "seeds", "streams", "schedule",
  "preset", "guidance", "noise", "size", "seamless", "init", "strength", "mask", "variation", "variationSeed",
  "morphClasses", "morphAmounts", "output",
]);

/** Fills an ft_request in `room`; gives it and how large what comes of it is. */
export function fill(room, model, request) {
  for (const name of Object.keys(request)) {
    if (!KNOWN.has(name)) throw new TypeError(`no field '${name}'; there are ${[...KNOWN].join(", ")}`);
  }
  const given = Object.fromEntries(Object.entries(request).filter(([, value]) => value != null));
  const raw = room.struct("ft_request", "ft_request_init");
  const count = subjects(room, model, given, raw);
  sampling(room, given, raw, count);
  const [width, height] = given.size ?? [model.info.width, model.info.height];
  if (given.size) {
    raw.set("width", whole("size", width));
    raw.set("height", whole("size", height));
  }
  edits(room, model, given, raw, count);
  const images = (given.output ?? "images") === "images";
  if (!images && given.output !== "latents") throw new TypeError(`output '${given.output}': images or latents`);
  raw.set("output", images ? numbers.FT_OUTPUT_IMAGES : numbers.FT_OUTPUT_LATENTS);
  return { raw, shape: { count, width, height, images } };
}

/** What the images show; gives how many there are. */
function subjects(room, model, given, raw) {
  const classes = given.classes === undefined ? [] : classNumbers(model, given.classes);
  const prompts = list(given.prompts ?? []);
  let rows = 0;
  for (const [name, field] of [["context", "context"], ["negativeContext", "negative_context"]]) {
    if (!given[name]) continue;
    const floats = floatsOf(name, given[name]);
    const each = model.info.contextWidth * Math.max(model.info.contextTokens, 1);
    if (each === 0 || floats.length % each !== 0) {
      throw new TypeError(`${name}: ${floats.length} floats, the model takes ${each} for each context`);
    }
    raw.set(field, room.array(floats));
    raw.set(`${field}_count`, floats.length);
    raw.set(`${field}_rows`, floats.length / each);
    if (name === "context") rows = floats.length / each;
  }
  if (classes.length) raw.set("classes", room.array(new BigInt64Array(classes)));
  if (prompts.length) {
    const texts = prompts.map((prompt) => room.text("prompts", prompt));
    raw.set("prompts", room.array(new Uint32Array(texts)));
    raw.set("prompt_count", prompts.length);
  }
  if (given.negativePrompt) raw.set("negative_prompt", room.text("negativePrompt", given.negativePrompt));
  const count = classes.length || prompts.length || rows;
  raw.set("image_count", count);
  return count;
}

function sampling(room, given, raw, count) {
  for (const name of ["schedule", "preset"]) {
    if (given[name] !== undefined) raw.set(name, room.text(name, given[name]));
  }
  for (const name of ["guidance", "strength", "variation"]) {
    if (given[name] !== undefined) raw.setFloat(name, number(name, given[name]));
  }
  for (const [name, field] of [["seed", "seed"], ["variationSeed", "variation_seed"]]) {
    if (given[name] !== undefined) raw.set(field, seed(name, given[name]));
  }
  for (const [name, field] of [["seeds", "seed"], ["streams", "stream"]]) {
    if (given[name] === undefined) continue;
    const all = oneEach(name, given[name], count).map((one) => seed(name, one));
    raw.set(`${field}s`, room.array(new BigUint64Array(all)));
    raw.set(`${field}_count`, all.length);
  }
  if (given.noise) {
    const noise = floatsOf("noise", given.noise);
    raw.set("noise", room.array(noise));
    raw.set("noise_count", noise.length);
  }
  if (given.seamless !== undefined) {
    if (!Object.hasOwn(SEAMLESS, given.seamless)) {
      throw new TypeError(`seamless '${given.seamless}': there are ${Object.keys(SEAMLESS).join(", ")}`);
    }
    raw.set("tile", SEAMLESS[given.seamless]);
  }
}

function edits(room, model, given, raw, count) {
  if (given.init) {
    const images = list(given.init);
    raw.set("init", pixels(room, pictures("init", images), numbers.FT_PIXEL_RGBA8).at);
    raw.set("init_count", images.length);
  }
  if (given.mask) {
    if (!(given.mask instanceof Uint8Array || given.mask instanceof Uint8ClampedArray)) {
      throw new TypeError("mask: must be a Uint8Array, a byte for each pixel");
    }
    raw.set("mask", room.array(given.mask));
    raw.set("mask_size", given.mask.length);
  }
  if (given.morphClasses !== undefined) {
    const classes = oneEach("morphClasses", classNumbers(model, given.morphClasses), count);
    raw.set("morph_classes", room.array(new BigInt64Array(classes)));
  }
  if (given.morphAmounts !== undefined) {
    const amounts = oneEach("morphAmounts", list(given.morphAmounts), count);
    raw.set("morph_amounts", room.array(new Float32Array(amounts.map((one) => number("morphAmounts", one)))));
  }
}

/** An ft_pixels of bytes that are copied, or for so many bytes of room. */
export function pixels(room, bytes, format) {
  const raw = room.struct("ft_pixels", "ft_pixels_init");
  raw.set("format", format);
  raw.set("data", typeof bytes === "number" ? room.take(bytes) : room.array(bytes));
  raw.set("size", typeof bytes === "number" ? bytes : bytes.length);
  return raw;
}

/** The bytes of RGBA images of one size, one after another. */
export function pictures(name, images) {
  const { width, height } = images[0] ?? {};
  const each = width * height * 4;
  const all = new Uint8Array(each * images.length || 0);
  images.forEach((image, i) => {
    if (image.width !== width || image.height !== height || image.data?.length !== each) {
      throw new TypeError(`${name}: must be images {width, height, data} of RGBA bytes, all of one size`);
    }
    all.set(image.data, i * each);
  });
  return all;
}

export function floatsOf(name, given) {
  if (given instanceof Float32Array) return given;
  throw new TypeError(`${name}: must be a Float32Array`);
}

function classNumbers(model, given) {
  return list(given).map((one) => (typeof one === "string" ? model.findClass(one) : BigInt(whole("classes", one))));
}

/** A list, or the one thing that is in it. */
function list(given) {
  return Array.isArray(given) || ArrayBuffer.isView(given) ? Array.from(given) : [given];
}

/** The library cannot tell how many there are. */
function oneEach(name, given, count) {
  if (given.length !== count) throw new TypeError(`${name}: ${given.length} of them for ${count} images`);
  return Array.from(given);
}

export function whole(name, given) {
  if (typeof given === "bigint" || Number.isSafeInteger(given)) return Number(given);
  throw new TypeError(`${name} ${given}: must be a whole number`);
}

/** A number that a double cannot hold is a bigint: what it would be rounded to is another seed. */
function seed(name, given) {
  const exact = typeof given === "bigint" ? given : BigInt(whole(name, given));
  if (exact >= 0n && exact < 1n << 64n) return exact;
  throw new TypeError(`${name} ${given}: must be from 0 to 2^64 - 1`);
}

function number(name, given) {
  if (typeof given === "number") return given;
  throw new TypeError(`${name} ${given}: must be a number`);
}
