// A model in a worker of its own: the page stays free, and asks by messages. One file is both sides.

import { FlowTurboError, Model } from "./index.js";

const inWorker = typeof WorkerGlobalScope === "function" && globalThis instanceof WorkerGlobalScope;

/** A model and a session in a worker. */
export class ModelWorker {
  #worker;
  #asked = new Map();
  #last = 0;

  /** Opens a plan, as `Model.open`. */
  static async open(source, options) {
    const self = new ModelWorker();
    self.#worker = new Worker(import.meta.url, { type: "module", name: "flowturbo" });
    self.#worker.onmessage = ({ data }) => self.#hear(data);
    self.#worker.onerror = (event) => {
      for (const { reject } of self.#asked.values()) reject(new FlowTurboError("FT_ERROR_RUNTIME", event.message));
      self.#asked.clear();
    };
    const from = source instanceof URL ? source.href : source;
    const address = typeof from === "string" ? new URL(from, location.href).href : from;
    try {
      Object.assign(self, await self.#ask("open", { source: address, options }));
    } catch (error) {
      self.close();
      throw error;
    }
    return self;
  }

  /** As `Session.generate`, with the maps that `maps` names. */
  async generate({ signal, progress, ...request } = {}) {
    signal?.throwIfAborted();
    const id = this.#last + 1;
    const stop = () => this.#worker.postMessage({ id, what: "stop" });
    signal?.addEventListener("abort", stop);
    try {
      return await this.#ask("generate", { request }, progress);
    } catch (error) {
      throw signal?.aborted && error.status === "FT_ERROR_CANCELLED" ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends the worker, and whatever it is at. */
  close() {
    this.#worker.terminate();
    for (const { reject } of this.#asked.values()) reject(new FlowTurboError("FT_ERROR_CANCELLED", "closed"));
    this.#asked.clear();
  }

  #ask(what, message, progress) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject, progress });
      this.#worker.postMessage({ id, what, ...message });
    });
  }

  #hear({ id, progress, done, failed }) {
    const asked = this.#asked.get(id);
    if (progress) return asked?.progress?.(progress);
    this.#asked.delete(id);
    if (failed) asked?.reject(failed.status ? new FlowTurboError(failed.status, failed.message) : failed.error);
    else asked?.resolve(done);
  }
}

/** What the worker does with messages. */
function serve() {
  let model, session;
  const stops = new Map();
  // One after another, as they come.
  let before = Promise.resolve();
  const work = {
    async open({ source, options }) {
      model = await Model.open(source, options);
      session = model.session();
      const { info, classes, presets, maps, threads, unthreaded } = model;
      return [{ info, classes, presets, maps, threads, unthreaded }];
    },
    async generate({ id, request: { maps = [], ...request } }) {
      const { signal } = stops.get(id);
      const progress = (progress) => postMessage({ id, progress });
      const { images, latents } = await session.generate({ ...request, signal, progress });
      const made = Object.fromEntries(maps.map((name) => [name, session.map(name)]));
      const parts = [...images, ...Object.values(made).flat()].map((image) => image.data.buffer);
      return [{ images, latents, maps: made }, [...parts, latents.buffer]];
    },
  };
  onmessage = ({ data }) => {
    if (data.what === "stop") {
      stops.get(data.id)?.abort(new FlowTurboError("FT_ERROR_CANCELLED", "stopped by its signal"));
      return;
    }
    stops.set(data.id, new AbortController());
    before = before.then(async () => {
      try {
        const [done, lent = []] = await work[data.what](data);
        postMessage({ id: data.id, done }, lent);
      } catch (error) {
        postMessage({ id: data.id, failed: { status: error.status, message: error.message, error } });
      }
      stops.delete(data.id);
    });
  };
}

if (inWorker && globalThis.name === "flowturbo") serve();
