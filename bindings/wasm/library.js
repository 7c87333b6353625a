// The WebAssembly module: how it is loaded, called, and spoken to through its memory.

import { numbers, structs } from "./header.js";
import { missing } from "./missing.js";

/** What the library refuses or cannot do. */
export class FlowTurboError extends Error {
  /** @param {string} status The name of an ft_status, such as "FT_ERROR_INVALID_ARGUMENT". */
  constructor(status, message) {
    super(message);
    this.name = "FlowTurboError";
    this.status = status;
  }
}

const STATUS = Object.fromEntries(
  Object.entries(numbers)
    .filter(([name]) => name.startsWith("FT_ERROR_"))
    .map(([name, number]) => [number, name]),
);

export class Library {
  #exports;
  #said = "";
  #lost = null;

  /** @param {WebAssembly.Module} module */
  static async of(module) {
    const library = new Library();
    const imports = { env: missing, wasi_snapshot_preview1: library.#system(module) };
    library.#exports = (await WebAssembly.instantiate(module, imports)).exports;
    library.run("_initialize");
    // A function that C code may call by its place in the table.
    const { __indirect_function_table: table, free } = library.#exports;
    library.freeing = table.grow(1, free);
    return library;
  }

  /** Calls a function that returns a status, and throws unless it is FT_OK. */
  call(name, ...args) {
    const status = this.run(name, ...args);
    if (status !== numbers.FT_OK) {
      throw new FlowTurboError(STATUS[status] ?? `status ${status}`, this.text(this.run("ft_last_error_message")));
    }
  }

  /** Calls any function. */
  run(name, ...args) {
    if (this.#lost) throw this.#lost;
    try {
      return this.#exports[name](...args);
    } catch (error) {
      // A panic ends the instance: what is in its memory may be half changed.
      const said = this.#said.trim().replaceAll("\n", " ") || error.message;
      this.#lost = new FlowTurboError(
        "FT_ERROR_PANIC",
        `a mistake inside flowturbo, please report it, and load the page or the worker again: ${said}`,
      );
      throw this.#lost;
    }
  }

  /** A view of the memory, good until the next call. */
  get view() {
    return new DataView(this.#exports.memory.buffer);
  }

  /** Bytes of the memory, good until the next call. */
  bytes(at, size) {
    return new Uint8Array(this.#exports.memory.buffer, at, size);
  }

  /** Bytes that the library has taken of the page. */
  get size() {
    return this.#exports.memory.buffer.byteLength;
  }

  text(at) {
    if (at === 0) return null;
    const all = new Uint8Array(this.#exports.memory.buffer, at);
    return new TextDecoder().decode(all.subarray(0, all.indexOf(0)));
  }

  /** Room for `size` bytes, to be freed by `free`. */
  take(size) {
    const at = this.run("malloc", Math.max(size, 1)) >>> 0;
    if (at === 0) throw new FlowTurboError("FT_ERROR_OUT_OF_MEMORY", `the engine refuses ${size} bytes`);
    return at;
  }

  free(at) {
    this.run("free", at);
  }

  /** Calls `work` with room that is freed when it returns. */
  with(work) {
    const room = new Room(this);
    try {
      return work(room);
    } finally {
      room.free();
    }
  }

  /** What a C library asks of a system. There is a clock, chance and somewhere to complain to, and nothing else. */
  #system(module) {
    const refuse = (errno) => () => errno;
    const system = {};
    for (const { name } of WebAssembly.Module.imports(module)) system[name] = refuse(52); // ENOSYS
    const succeed = (work) => (...args) => {
      work(...args);
      return 0;
    };
    return Object.assign(system, {
      clock_time_get: succeed((_clock, _precision, at) => {
        this.view.setBigUint64(at, BigInt(Math.round(performance.now() * 1e6)), true);
      }),
      random_get: succeed((at, size) => crypto.getRandomValues(this.bytes(at, size))),
      environ_sizes_get: succeed((count, size) => {
        this.view.setUint32(count, 0, true);
        this.view.setUint32(size, 0, true);
      }),
      environ_get: succeed(() => {}),
      fd_prestat_get: refuse(8), // EBADF: no folders
      fd_write: succeed((_file, vectors, count, written) => {
        let all = 0;
        for (let i = 0; i < count; i++) {
          const [at, size] = [0, 4].map((part) => this.view.getUint32(vectors + 8 * i + part, true));
          this.#said += new TextDecoder().decode(this.bytes(at, size));
          all += size;
        }
        this.view.setUint32(written, all, true);
      }),
    });
  }
}

/** What one call is given: structs, arrays and texts in the library's memory. */
export class Room {
  #taken = [];

  constructor(library) {
    this.library = library;
  }

  take(size) {
    const at = this.library.take(size);
    this.#taken.push(at);
    return at;
  }

  free() {
    for (const at of this.#taken.splice(0)) this.library.free(at);
  }

  /** A copy of a typed array. */
  array(values) {
    const at = this.take(values.byteLength);
    this.library.bytes(at, values.byteLength).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return at;
  }

  text(name, text) {
    if (text.includes("\0")) throw new TypeError(`${name}: a NUL inside of a text`);
    return this.array(new TextEncoder().encode(`${text}\0`));
  }

  /** A struct of the header with its defaults, or with its size where it has no init function. */
  struct(name, init) {
    const { size } = structs[name];
    const at = this.take(size);
    this.library.bytes(at, size).fill(0);
    if (init) this.library.call(init, at, size);
    else this.library.view.setUint32(at, size, true);
    return new Struct(this.library, name, at);
  }
}

/** A struct in the library's memory. */
export class Struct {
  constructor(library, name, at) {
    this.library = library;
    this.name = name;
    this.at = at;
  }

  #field(field) {
    const [offset, size] = structs[this.name].fields[field];
    return [this.at + offset, size];
  }

  set(field, value) {
    const [at, size] = this.#field(field);
    if (size === 8) this.library.view.setBigUint64(at, BigInt(value), true);
    else this.library.view.setUint32(at, value, true);
  }

  setFloat(field, value) {
    this.library.view.setFloat32(this.#field(field)[0], value, true);
  }

  get(field) {
    const [at, size] = this.#field(field);
    return size === 8 ? this.library.view.getBigInt64(at, true) : this.library.view.getUint32(at, true);
  }

  getFloat(field) {
    return this.library.view.getFloat32(this.#field(field)[0], true);
  }

  getText(field) {
    return this.library.text(this.get(field));
  }
}
