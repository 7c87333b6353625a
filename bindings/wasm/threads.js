// The library's threads. Each is a worker (lane.js) with an instance of its own of the module, all in one memory. They
// are started beforehand: the library asks for a thread at once, and no worker starts before its page has a turn.

import { FlowTurboError } from "./error.js";

const EAGAIN = 6;
/** Bytes of a thread's stack: as many as the module's own has. */
const STACK = 1 << 20;
/** Milliseconds. */
const MOMENT = 0.02;

/** Why there are no threads here, or null. */
export function unthreaded() {
  if (typeof SharedArrayBuffer !== "function" || globalThis.crossOriginIsolated === false) {
    return "one thread: the page is not cross-origin isolated (its headers Cross-Origin-Opener-Policy: same-origin " +
      "and Cross-Origin-Embedder-Policy: require-corp)";
  }
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return null;
  } catch {
    return "one thread: a page's own may not wait for others; open the model in a worker (ModelWorker)";
  }
}

/** What threads tell one another of the one that failed: the length of what it said, then the text. */
export class Notice {
  #length;
  #text;

  constructor(buffer = new SharedArrayBuffer(2048)) {
    this.buffer = buffer;
    this.#length = new Int32Array(buffer, 0, 1);
    this.#text = new Uint8Array(buffer, 4);
  }

  write(text) {
    const bytes = new TextEncoder().encode(text).subarray(0, this.#text.length);
    this.#text.set(bytes);
    Atomics.store(this.#length, 0, Math.max(bytes.length, 1));
  }

  /** Gives the processor away for a moment: the thread that is waited for may want this very one. */
  pause() {
    Atomics.wait(this.#length, 0, 0, MOMENT);
  }

  /** What was written, or null. */
  read() {
    const length = Atomics.load(this.#length, 0);
    return length === 0 ? null : new TextDecoder().decode(this.#text.slice(0, length));
  }
}

/** The workers of one library. */
export class Crew {
  #library;
  #parts;
  #idle = [];
  /** Those that the call under way may have. */
  #lent = [];
  /** By the address of a thread's room. */
  #busy = new Map();

  constructor(library, parts) {
    this.#library = library;
    this.#parts = parts;
  }

  /** Workers that wait, for `lend`: none starts late, and none is counted on twice. */
  async gather(count) {
    const there = this.#idle.splice(0, count);
    const wanted = Array.from({ length: count - there.length }, () => started(this.#parts));
    const settled = await Promise.allSettled(wanted);
    there.push(...settled.filter(({ value }) => value).map(({ value }) => value));
    const failed = settled.find(({ reason }) => reason);
    if (!failed) return there;
    this.#idle.push(...there);
    throw failed.reason;
  }

  /** Calls `work`, which may take `workers` as threads. */
  lend(workers, work) {
    this.#lent = workers;
    try {
      return work();
    } finally {
      this.#idle.push(...this.#lent.splice(0));
    }
  }

  /** What the library asks a system with threads for. */
  get imports() {
    return {
      pthread_create: (thread, _attributes, run, argument) => {
        const worker = this.#lent.pop();
        if (!worker) return EAGAIN;
        const room = this.#room();
        if (room === 0) {
          this.#lent.push(worker);
          return EAGAIN;
        }
        this.#busy.set(room, worker);
        this.#library.view.setUint32(thread, room, true);
        worker.postMessage({ run, argument, room, top: room + this.#library.threadBytes + STACK });
        return 0;
      },
      pthread_join: (thread) => {
        const room = thread >>> 0;
        Atomics.wait(this.#library.word(room), 0, 0);
        this.#idle.push(this.#busy.get(room));
        this.#busy.delete(room);
        this.#library.free(room);
        return 0;
      },
    };
  }

  /** Room for a word that tells when the thread ends, its own variables, and its stack. */
  #room() {
    const library = this.#library;
    const room = library.run("__wrap_malloc", library.threadBytes + STACK) >>> 0;
    if (room !== 0) Atomics.store(library.word(room), 0, 0);
    return room;
  }
}

/** A worker that is ready. */
async function started(parts) {
  const browser = typeof Worker === "function";
  // Bundlers look for this very expression. Node's is given nothing of what the program was started with, which may not
  // be for a file.
  const worker = browser
    ? new Worker(new URL("./lane.js", import.meta.url), { type: "module", name: "flowturbo-lane" })
    : new (await import("node:worker_threads")).Worker(new URL("./lane.js", import.meta.url), { execArgv: [] });
  await new Promise((resolve, reject) => {
    const failed = (error) => {
      worker.terminate();
      const cause = error.message ?? "is it served?";
      reject(new FlowTurboError("FT_ERROR_RUNTIME", `a thread's worker (lane.js) does not start: ${cause}`));
    };
    const heard = (message) => (message.failed ? failed(new Error(message.failed)) : resolve());
    if (browser) {
      worker.onmessage = ({ data }) => heard(data);
      worker.onerror = failed;
    } else {
      worker.once("message", heard);
      worker.once("error", failed);
    }
    worker.postMessage(parts);
  });
  // A program of Node's ends though they wait.
  worker.unref?.();
  return worker;
}
