// Serves a folder: node server.mjs FOLDER [PORT], cross-origin isolated, so that its pages may have threads.

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** What makes a page cross-origin isolated. */
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

export function serve(folder, { port = 0, isolated = true } = {}) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const there = statSync(file, { throwIfNoEntry: false })?.isFile();
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(there ? 200 : 404, { "content-type": type, ...(isolated ? ISOLATED : {}) });
    if (there) createReadStream(file).pipe(response);
    else response.end();
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => resolve({ server, address: `http://localhost:${server.address().port}/` }));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { address } = await serve(process.argv[2], { port: Number(process.argv[3] ?? 8000) });
  console.log(address);
}
