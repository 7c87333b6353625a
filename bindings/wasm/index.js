// Images from FlowTurbo models, in WebAssembly: models, and sessions that generate.

import { numbers } from "./header.js";
import { FlowTurboError } from "./error.js";
import { Library } from "./library.js";
import { fill, floatsOf, pictures, pixels, whole } from "./request.js";
import { unthreaded } from "./threads.js";

export { FlowTurboError } from "./error.js";
export { png } from "./png.js";

const PRECISIONS = {
  f32: numbers.FT_PRECISION_F32,
  "f16-weights": numbers.FT_PRECISION_F16_WEIGHTS,
  int8: numbers.FT_PRECISION_INT8,
  auto: numbers.FT_PRECISION_AUTO,
};
/** By name: number, pixel format and channels. */
const MAPS = {
  color: [numbers.FT_MAP_COLOR, numbers.FT_PIXEL_RGBA8, 4],
  normal: [numbers.FT_MAP_NORMAL, numbers.FT_PIXEL_RGBA8, 4],
  height: [numbers.FT_MAP_HEIGHT, numbers.FT_PIXEL_GREY8, 1],
  roughness: [numbers.FT_MAP_ROUGHNESS, numbers.FT_PIXEL_GREY8, 1],
  metallic: [numbers.FT_MAP_METALLIC, numbers.FT_PIXEL_GREY8, 1],
  occlusion: [numbers.FT_MAP_OCCLUSION, numbers.FT_PIXEL_GREY8, 1],
  orm: [numbers.FT_MAP_ORM, numbers.FT_PIXEL_RGBA8, 4],
  mask: [numbers.FT_MAP_HDRP_MASK, numbers.FT_PIXEL_RGBA8, 4],
};
/** Microseconds that `generate` computes before others on the thread have their turn. */
const TURN = 12_000n;
const MOST_THREADS = 64;

/** The module, by whether it has threads. Addresses are whole, for bundlers to find. */
const ours = (threads) =>
  threads ? new URL("./flowturbo-threads.wasm", import.meta.url) : new URL("./flowturbo.wasm", import.meta.url);

/** The libraries that were loaded, by whether they have threads. */
const loaded = new Map();

/** Loads a library, once: `Model.open` does so by itself. `source` is where its module is, its bytes, or it compiled;
 * by default it lies beside this file. */
export function load(source, { threads = false } = {}) {
  if (!loaded.has(threads)) {
    const loading = compiled(source ?? ours(threads)).then((module) => Library.of(module, threads));
    // What failed may be tried again.
    loading.catch(() => loaded.delete(threads));
    loaded.set(threads, loading);
  }
  return loaded.get(threads);
}

async function compiled(source) {
  return source instanceof WebAssembly.Module ? source : WebAssembly.compile(await bytesOf(source));
}

/** The bytes at an address, of a response, or as they are given. */
async function bytesOf(source) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (typeof Response === "function" && source instanceof Response) {
    if (!source.ok) throw new FlowTurboError("FT_ERROR_IO", `${source.url}: ${source.status} ${source.statusText}`);
    return new Uint8Array(await source.arrayBuffer());
  }
  // Node's fetch reads no files, and a path is no address.
  if (typeof process === "object" && process.versions?.node && !/^(https?|data|blob):/.test(String(source))) {
    const { readFile } = await import("node:fs/promises");
    try {
      return await readFile(source);
    } catch (error) {
      throw new FlowTurboError("FT_ERROR_IO", error.message);
    }
  }
  return bytesOf(await fetch(source));
}

/** Frees what a page forgot to close. */
const forgotten = new FinalizationRegistry((free) => {
  try {
    free();
  } catch {
    // The library is lost, and its memory with it.
  }
});

/** A handle of the library's, freed once: by `close`, or when nobody refers to its owner any more. */
class Handle {
  #at;
  #free;

  constructor(owner, library, free, at) {
    this.#at = at;
    this.#free = () => library.run(free, at);
    forgotten.register(owner, this.#free, this);
  }

  get at() {
    return this.#at;
  }

  close() {
    if (this.#at === 0) return;
    // Number 0 is no handle, which the library refuses by name.
    this.#at = 0;
    forgotten.unregister(this);
    this.#free();
  }
}

/** A plan, opened. */
export class Model {
  #handle;

  constructor(library, at, threads) {
    this.library = library;
    this.threads = threads.count;
    this.unthreaded = threads.why;
    this.#handle = new Handle(this, library, "ft_model_free", at);
    this.info = library.with((room) => {
      const raw = room.struct("ft_model_info");
      library.call("ft_model_get_info", at, raw.at);
      return Object.freeze({
        name: raw.getText("name"),
        description: raw.getText("description"),
        license: raw.getText("license"),
        schedule: raw.getText("schedule"),
        hash: raw.getText("hash"),
        guidance: raw.getFloat("guidance"),
        width: raw.get("width"),
        height: raw.get("height"),
        latentShape: ["latent_channels", "latent_height", "latent_width"].map((name) => raw.get(name)),
        cell: [raw.get("cell_width"), raw.get("cell_height")],
        classCount: raw.get("class_count"),
        nullClass: Number(raw.get("null_class")),
        presetCount: raw.get("preset_count"),
        tiles: raw.get("tiles") === 1,
        prompts: (raw.get("networks") & numbers.FT_NETWORK_TEXT) !== 0,
        contextWidth: raw.get("context_width"),
        contextTokens: raw.get("context_tokens"),
      });
    });
  }

  /** Opens a plan: its address (in Node also a path), a Response, or its bytes. */
  static async open(source, { precision = "f32", deterministic = false, threads = 1 } = {}) {
    if (!Object.hasOwn(PRECISIONS, precision)) {
      throw new TypeError(`precision '${precision}': there are ${Object.keys(PRECISIONS).join(", ")}`);
    }
    if (!(whole("threads", threads) >= 1 && threads <= MOST_THREADS)) {
      throw new TypeError(`threads ${threads}: must be from 1 to ${MOST_THREADS}`);
    }
    const why = threads > 1 ? unthreaded() : null;
    const count = why ? 1 : Number(threads);
    const [library, bytes] = await Promise.all([load(undefined, { threads: count > 1 }), bytesOf(source)]);
    const workers = await library.crew.gather(count - 1);
    return library.crew.lend(workers, () => library.with((room) => {
      const options = room.struct("ft_model_options", "ft_model_options_init");
      options.set("threads", count);
      options.set("deterministic", deterministic ? 1 : 0);
      options.set("precision", PRECISIONS[precision]);
      const place = room.take(4);
      // The library's from here on: it frees them with the model and its last session, or where opening fails.
      const data = library.take(bytes.length);
      library.bytes(data, bytes.length).set(bytes);
      library.call("ft_model_open_memory", data, bytes.length, library.freeing, data, options.at, place);
      return new Model(library, library.view.getUint32(place, true), { count, why });
    }));
  }

  get handle() {
    return this.#handle.at;
  }

  /** Room for one generation at a time. */
  session() {
    const { library } = this;
    return library.with((room) => {
      const place = room.take(4);
      library.call("ft_session_new", this.handle, place);
      return new Session(this, library.view.getUint32(place, true));
    });
  }

  /** The number of a class, a bigint, by its label or one of its synonyms. */
  findClass(name) {
    return this.library.with((room) => {
      const place = room.take(8);
      this.library.call("ft_model_find_class", this.handle, room.text("name", name), place);
      return this.library.view.getBigInt64(place, true);
    });
  }

  /** The labels of all classes. */
  get classes() {
    return Array.from({ length: this.info.classCount }, (_, i) => this.#textAt("ft_model_class_label", BigInt(i)));
  }

  /** The names of all presets. */
  get presets() {
    return Array.from({ length: this.info.presetCount }, (_, i) => this.#textAt("ft_model_preset_name", i));
  }

  /** The names of the maps that `Session.map` can give. */
  get maps() {
    const all = this.library.with((room) => {
      const place = room.take(4);
      this.library.call("ft_model_get_maps", this.handle, place);
      return this.library.view.getUint32(place, true);
    });
    return Object.keys(MAPS).filter((name) => all & MAPS[name][0]);
  }

  /** Frees the model; sessions of it go on working. */
  close() {
    this.#handle.close();
  }

  #textAt(name, i) {
    return this.library.with((room) => {
      const place = room.take(4);
      this.library.call(name, this.handle, i, place);
      return this.library.text(this.library.view.getUint32(place, true));
    });
  }
}

/** Scratch memory for one generation at a time. */
export class Session {
  #handle;
  #shape = null;
  #under = 0;

  constructor(model, at) {
    this.model = model;
    this.library = model.library;
    this.#handle = new Handle(this, this.library, "ft_session_free", at);
  }

  /** Samples and decodes; the page lives meanwhile. Gives what was made; an AbortSignal stops it. */
  async generate({ signal, progress, ...request } = {}) {
    signal?.throwIfAborted();
    this.begin(request);
    const mine = this.#under;
    for (let told = -1; ; ) {
      const done = this.step(TURN);
      const { made, all } = this.steps;
      if (made !== told) progress?.({ made: (told = made), all });
      if (done) return this.finish();
      await turn();
      // Whoever asked for something else meanwhile has given this up.
      if (mine !== this.#under) throw new FlowTurboError("FT_ERROR_CANCELLED", "the session was asked for another one");
      if (signal?.aborted) {
        this.reset();
        throw signal.reason;
      }
    }
  }

  /** The same at one go: nothing else on the thread runs meanwhile. */
  generateSync(request = {}) {
    this.begin(request);
    return this.finish();
  }

  /** Begins a generation that `step` and `finish` carry out. One that was under way is given up. */
  begin(request = {}) {
    this.#under += 1;
    this.#shape = null;
    this.library.with((room) => {
      const { raw, shape } = fill(room, this.model, request);
      this.library.call("ft_session_begin", this.#handle.at, raw.at);
      this.#shape = shape;
    });
  }

  /** Works for about so many microseconds; whether all is done. */
  step(microseconds) {
    return this.library.with((room) => {
      const place = room.take(1);
      this.library.call("ft_session_step", this.#handle.at, BigInt(microseconds), place);
      return this.library.bytes(place, 1)[0] === 1;
    });
  }

  /** Steps of the schedule that are done, and all that there are. */
  get steps() {
    return this.library.with((room) => {
      const place = room.take(8);
      this.library.call("ft_session_get_steps", this.#handle.at, place, place + 4);
      return { made: this.library.view.getUint32(place, true), all: this.library.view.getUint32(place + 4, true) };
    });
  }

  /** Does what is left of the generation, and gives what was made. */
  finish() {
    const { images } = this.#made();
    if (!images) while (!this.step(TURN));
    return {
      images: images ? this.#images("ft_session_finish", numbers.FT_PIXEL_RGBA8, 4) : [],
      latents: this.#latents(),
    };
  }

  /** Gives the generation under way up, or forgets the last one. */
  reset() {
    this.#under += 1;
    this.#shape = null;
    this.library.call("ft_session_reset", this.#handle.at);
  }

  /** What the generation looks like so far: rough, of the latent's size. */
  preview() {
    const { cell } = this.model.info;
    const { width, height } = this.#made();
    const size = { width: width / cell[0], height: height / cell[1] };
    return this.#images("ft_session_preview", numbers.FT_PIXEL_RGBA8, 4, [numbers.FT_PREVIEW_LINEAR], size);
  }

  /** A map of the images that were made last: RGBA, or a byte for each pixel. */
  map(name, { normalY = "up" } = {}) {
    if (!Object.hasOwn(MAPS, name)) {
      throw new TypeError(`no map is called '${name}'; there are ${Object.keys(MAPS).join(", ")}`);
    }
    if (normalY !== "up" && normalY !== "down") throw new TypeError(`normalY '${normalY}': up or down`);
    const [map, format, channels] = MAPS[name];
    const flags = name === "normal" && normalY === "down" ? numbers.FT_MAP_NORMAL_Y_DOWN : 0;
    return this.#images("ft_session_get_map", format, channels, [map, flags]);
  }

  /** The latents of images of one size, for models with an encoder. */
  encode(images) {
    const { latentShape, cell } = this.model.info;
    const { width, height } = images[0];
    const count = images.length * latentShape[0] * (width / cell[0]) * (height / cell[1]);
    return this.library.with((room) => {
      const raw = pixels(room, pictures("images", images), numbers.FT_PIXEL_RGBA8);
      const place = room.take(count * 4);
      this.library.call(
        "ft_session_encode", this.#handle.at, raw.at, width, height, images.length, place, count,
      );
      return this.#floats(place, count);
    });
  }

  /** The images of latents, by default of the model's own size. */
  decode(latents, [width, height] = [this.model.info.width, this.model.info.height]) {
    const { latentShape, cell } = this.model.info;
    const given = floatsOf("latents", latents);
    const count = given.length / (latentShape[0] * (width / cell[0]) * (height / cell[1]));
    return this.library.with((room) => {
      const raw = pixels(room, whole("latents", count) * width * height * 4, numbers.FT_PIXEL_RGBA8);
      this.library.call(
        "ft_session_decode_sized", this.#handle.at, room.array(given), given.length, width, height, raw.at,
      );
      return this.#read(raw, { count, width, height }, 4);
    });
  }

  /** Frees the session. */
  close() {
    this.#handle.close();
  }

  #made() {
    if (this.#shape) return this.#shape;
    throw new FlowTurboError("FT_ERROR_INVALID_ARGUMENT", "the session was asked for nothing yet");
  }

  #images(call, format, channels, before = [], size = {}) {
    const shape = { ...this.#made(), ...size };
    return this.library.with((room) => {
      const raw = pixels(room, shape.count * shape.width * shape.height * channels, format);
      this.library.call(call, this.#handle.at, ...before, raw.at);
      return this.#read(raw, shape, channels);
    });
  }

  #read(raw, { count, width, height }, channels) {
    const each = width * height * channels;
    const at = raw.get("data");
    return Array.from({ length: count }, (_, i) => {
      const data = new Uint8ClampedArray(this.library.bytes(at + i * each, each));
      return channels === 4 && typeof ImageData === "function"
        ? new ImageData(data, width, height)
        : { data, width, height };
    });
  }

  #latents() {
    const { latentShape, cell } = this.model.info;
    const { count, width, height } = this.#made();
    const cells = cell[0] ? (width / cell[0]) * (height / cell[1]) : latentShape[1] * latentShape[2];
    const floats = count * latentShape[0] * cells;
    return this.library.with((room) => {
      const place = room.take(floats * 4);
      this.library.call("ft_session_get_latents", this.#handle.at, place, floats);
      return this.#floats(place, floats);
    });
  }

  #floats(at, count) {
    return new Float32Array(this.library.bytes(at, count * 4).slice().buffer);
  }
}

/** Lets whatever else waits on this thread run. A timer would wait for four milliseconds in a browser, and Node hands
 * out the messages of a channel before it looks at timers. */
const turn = typeof setImmediate === "function" ? () => new Promise((resume) => setImmediate(resume)) : byMessage();

function byMessage() {
  const { port1, port2 } = new MessageChannel();
  const waiting = [];
  port1.onmessage = () => waiting.shift()();
  return () => new Promise((resume) => {
    waiting.push(resume);
    port2.postMessage(null);
  });
}
