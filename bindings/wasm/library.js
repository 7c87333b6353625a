// The WebAssembly module: how it is loaded, called, and spoken to through its memory.

import { FlowTurboError } from "./error.js";
import { numbers, structs } from "./header.js";
import { missing } from "./missing.js";
import { Crew, Notice } from "./threads.js";

const STATUS = Object.fromEntries(
  Object.entries(numbers)
    .filter(([name]) => name.startsWith("FT_ERROR_"))
    .map(([name, number]) => [number, name]),
);

/** Pages of 64 KiB: what the module begins with (`link`), and the most that an address reaches. */
const [PAGES, ALL_PAGES] = [64, 1 << 16];
/** Bytes before a thread's variables, where a word tells that it has ended. */
const WORD = 16;

export class Library {
  #exports;
  #memory;
  #notice;
  #said = "";
  #lost = null;

  /** @param {WebAssembly.Module} module  One for threads has a shared memory. */
  static async of(module, threads) {
    const memory = reserved(threads);
    const notice = threads ? new Notice() : null;
    const library = new Library(memory, notice);
    library.crew = new Crew(library, { module, memory, notice: notice?.buffer });
    await library.#instantiate(module, threads ? library.crew.imports : {});
    library.run("_initialize");
    return library;
  }

  /** The library in a worker that is to be its threads, one after another. */
  static async lane({ module, memory, notice }) {
    const library = new Library(memory, new Notice(notice));
    await library.#instantiate(module);
    return library;
  }

  constructor(memory, notice) {
    this.#memory = memory;
    this.#notice = notice;
  }

  async #instantiate(module, more = {}) {
    const env = { memory: this.#memory, ...missing, ...this.#variables, ...more };
    const imports = { env, wasi_snapshot_preview1: this.#system(module) };
    this.#exports = (await WebAssembly.instantiate(module, imports)).exports;
    // A function that C code may call by its place in the table, the same in every thread's.
    const { __indirect_function_table: table, __tls_align: align, __wrap_free } = this.#exports;
    if (align.value > WORD) throw new Error(`a thread's variables want ${align.value} bytes of alignment`);
    this.freeing = table.grow(1, __wrap_free);
  }

  /** Bytes of a thread's word and variables: both aligned as any room of the heap is. */
  get threadBytes() {
    return WORD + Math.ceil(this.#exports.__tls_size.value / 16) * 16;
  }

  /** A word of the memory, for what threads do with such. */
  word(at) {
    return new Int32Array(this.#memory.buffer, at, 1);
  }

  /** Is a thread: calls `run`, with its word and its variables in `room`, and the stack below `top`. */
  live({ run, argument, room, top }) {
    const { __indirect_function_table: table, __stack_pointer: stack, __wasm_init_tls: begin } = this.#exports;
    try {
      stack.value = top;
      begin(room + WORD);
      table.get(run)(argument);
      // What was kept for this thread alone is dropped, which may put it off once.
      for (const [drop, value] of this.#kept) {
        this.#kept.delete(drop);
        table.get(drop)(value);
      }
    } catch (error) {
      if (!this.#notice.read()) this.#notice.write(this.#said.trim() || error.message);
    }
    Atomics.store(this.word(room), 0, 1);
    Atomics.notify(this.word(room), 0);
  }

  /** By what drops it, which is its key. */
  #kept = new Map();
  #variables = {
    pthread_key_create: (key, drop) => {
      this.view.setUint32(key, drop, true);
      return 0;
    },
    pthread_key_delete: () => 0,
    pthread_setspecific: (key, value) => {
      if (value) this.#kept.set(key, value);
      else this.#kept.delete(key);
      return 0;
    },
  };

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
      this.#heed();
      return this.#exports[name](...args);
    } catch (error) {
      if (this.#lost) throw this.#lost;
      // A panic ends the instance: what is in its memory may be half changed.
      const said = this.#said.trim().replaceAll("\n", " ") || error.message;
      this.#lost = new FlowTurboError(
        "FT_ERROR_PANIC",
        `a mistake inside flowturbo, please report it, and load the page or the worker again: ${said}`,
      );
      throw this.#lost;
    }
  }

  /** Fails where another thread has. */
  #heed() {
    const said = this.#notice?.read();
    if (said) throw new Error(said);
  }

  /** A view of the memory, good until the next call. */
  get view() {
    return new DataView(this.#memory.buffer);
  }

  /** Bytes of the memory, good until the next call. */
  bytes(at, size) {
    return new Uint8Array(this.#memory.buffer, at, size);
  }

  /** Bytes that the library has taken of the page. */
  get size() {
    return this.#memory.buffer.byteLength;
  }

  text(at) {
    if (at === 0) return null;
    const all = new Uint8Array(this.#memory.buffer, at);
    // A copy: texts of a shared memory are not decoded.
    return new TextDecoder().decode(all.slice(0, all.indexOf(0)));
  }

  /** Room for `size` bytes, to be freed by `free`. */
  take(size) {
    const at = this.run("__wrap_malloc", Math.max(size, 1)) >>> 0;
    if (at === 0) throw new FlowTurboError("FT_ERROR_OUT_OF_MEMORY", `the engine refuses ${size} bytes`);
    return at;
  }

  free(at) {
    this.run("__wrap_free", at);
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
      random_get: succeed((at, size) => this.bytes(at, size).set(crypto.getRandomValues(new Uint8Array(size)))),
      // Whoever waits for a thread that has failed would wait for ever.
      sched_yield: succeed(() => {
        this.#heed();
        this.#notice?.pause();
      }),
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
          this.#said += new TextDecoder().decode(this.bytes(at, size).slice());
          all += size;
        }
        this.view.setUint32(written, all, true);
      }),
    });
  }
}

/** Memory that may grow as far as the engine allows, which an engine may want told to be less. */
function reserved(shared) {
  for (let maximum = ALL_PAGES; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: PAGES, maximum, shared });
    } catch (error) {
      if (!(error instanceof RangeError) || maximum <= PAGES) {
        throw new FlowTurboError("FT_ERROR_OUT_OF_MEMORY", `the engine refuses the memory: ${error.message}`);
      }
    }
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
