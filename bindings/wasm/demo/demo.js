// Asks a worker for textures, tiles them and lights them.

import { ModelWorker } from "flowturbo/worker";

const at = (id) => document.getElementById(id);
const image = at("image").getContext("2d");
const tiled = at("tiled").getContext("2d");
let lit = null; // colours and slopes of the texture that is shown
let light = { x: -0.5, y: -0.6 };
let stop = null;

/** How far the surface rises to the right and downwards at each pixel, if what is bright is high. */
function slopes({ data, width, height }) {
  const bright = Float32Array.from({ length: width * height }, (_, i) => {
    const [red, green, blue] = data.subarray(4 * i, 4 * i + 3);
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
  });
  const there = (x, y) => bright[((y + height) % height) * width + ((x + width) % width)];
  return Float32Array.from({ length: 2 * width * height }, (_, i) => {
    const pixel = i >> 1;
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    return i & 1 ? there(x, y + 1) - there(x, y - 1) : there(x + 1, y) - there(x - 1, y);
  });
}

/** Three by three of the texture, by Lambert's law under a light that hangs above `light`, from -1 to 1 both ways. */
function draw() {
  if (!lit) return;
  const { colours, rise } = lit;
  const { width, height, data } = colours;
  const made = tiled.createImageData(3 * width, 3 * height);
  for (let y = 0; y < made.height; y++) {
    for (let x = 0; x < made.width; x++) {
      const from = (y % height) * width + (x % width);
      const to = 4 * (y * made.width + x);
      let shade = 1;
      if (at("lit").checked) {
        const toLight = [light.x - ((2 * x) / made.width - 1), light.y - ((2 * y) / made.height - 1), 0.8];
        const normal = [-1.5 * rise[2 * from], -1.5 * rise[2 * from + 1], 1];
        const facing = toLight[0] * normal[0] + toLight[1] * normal[1] + toLight[2] * normal[2];
        shade = 0.25 + 1.1 * Math.max(facing / (Math.hypot(...toLight) * Math.hypot(...normal)), 0);
      }
      for (let channel = 0; channel < 3; channel++) made.data[to + channel] = shade * data[4 * from + channel];
      made.data[to + 3] = 255;
    }
  }
  tiled.putImageData(made, 0, 0);
}

async function generate(model) {
  stop = new AbortController();
  at("generate").disabled = true;
  at("cancel").disabled = false;
  const began = performance.now();
  try {
    const { images } = await model.generate({
      classes: [Number(at("class").value)],
      seed: BigInt(at("seed").value || 0),
      seamless: at("seamless").checked ? "both" : null,
      signal: stop.signal,
      progress: ({ made, all }) => {
        at("progress").value = made / all;
        at("status").textContent = `Step ${made} of ${all}`;
      },
    });
    const [colours] = images;
    image.putImageData(colours, 0, 0);
    lit = { colours, rise: slopes(colours) };
    draw();
    at("status").textContent = `Made in ${((performance.now() - began) / 1000).toFixed(2)} s.`;
  } catch (error) {
    at("status").textContent = error.name === "AbortError" ? "Cancelled." : error.message;
    at("progress").value = 0;
  }
  at("generate").disabled = false;
  at("cancel").disabled = true;
}

at("tiled").addEventListener("pointermove", (event) => {
  const { left, top, width, height } = event.target.getBoundingClientRect();
  light = { x: (2 * (event.clientX - left)) / width - 1, y: (2 * (event.clientY - top)) / height - 1 };
  requestAnimationFrame(draw);
});
at("lit").addEventListener("change", draw);
at("cancel").addEventListener("click", () => stop?.abort());

try {
  const model = await ModelWorker.open("textures.ftplan", { threads: Math.min(navigator.hardwareConcurrency, 8) });
  at("class").append(...model.classes.map((label, number) => new Option(label.split(",")[0], number)));
  for (const id of ["class", "generate"]) at(id).disabled = false;
  at("status").textContent = `${model.info.name}: ${model.info.classCount} materials, ${model.threads} threads.`;
  if (model.unthreaded) console.info(model.unthreaded);
  at("request").addEventListener("submit", (event) => {
    event.preventDefault();
    generate(model);
  });
} catch (error) {
  at("status").textContent = error.message;
}
