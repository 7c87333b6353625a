// A worker that is one of the library's threads whenever it is asked to be (threads.js).

import { Library } from "./library.js";

const browser = typeof WorkerGlobalScope === "function";
const port = browser ? globalThis : (await import("node:worker_threads")).parentPort;
let library;

async function hear(message) {
  if (message.module) {
    try {
      library = await Library.lane(message);
      port.postMessage({});
    } catch (error) {
      port.postMessage({ failed: error.message });
    }
    return;
  }
  library.live(message);
}

if (browser) onmessage = ({ data }) => hear(data);
else port.on("message", hear);
