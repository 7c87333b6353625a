/** What the library refuses or cannot do; `status` is the name of an `ft_status`. */
export class FlowTurboError extends Error {
  constructor(status: string, message: string);
  readonly status: string;
}

/** RGBA bytes from top to bottom; an `ImageData` where there is such. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

export interface Progress {
  /** Steps of the schedule that are done. */
  made: number;
  /** And all that there are. */
  all: number;
}

export type MapName =
  | "color" | "normal" | "height" | "roughness" | "metallic" | "occlusion" | "orm" | "mask";
export type Classes = string | number | bigint | readonly (string | number | bigint)[];

/**
 * What to make: an image for each class, or for each prompt where there are no classes. What is left out is the
 * model's own. docs/editing.md and docs/prompts.md say what each does.
 */
export interface Request {
  /** Labels or numbers. */
  classes?: Classes | null;
  /** What the images show, for models with a text encoder: one for all, or one for each. */
  prompts?: string | readonly string[] | null;
  negativePrompt?: string | null;
  /** `[N, contextWidth]` or `[N, contextTokens, contextWidth]`, N being the number of images, or 1 for all. */
  context?: Float32Array | null;
  negativeContext?: Float32Array | null;
  /** 0 unless given; a bigint above 2^53. */
  seed?: number | bigint | null;
  /** A seed for each image. */
  seeds?: readonly (number | bigint)[] | null;
  /** The stream of its seed that each image's noise is taken from. */
  streams?: readonly (number | bigint)[] | null;
  /** Such as "H1P6R5". */
  schedule?: string | null;
  preset?: string | null;
  /** Scale of classifier-free guidance; 1 is none. */
  guidance?: number | null;
  /** `[N, C, h, w]`, instead of the seed's. */
  noise?: Float32Array | null;
  /** Width and height in pixels, not below the model's own. */
  size?: readonly [number, number] | null;
  /** The axes along which the images continue on their other side. */
  seamless?: "x" | "y" | "both" | null;
  /** Images to begin with: one for all, or one for each. */
  init?: Picture | readonly Picture[] | null;
  /** With `init`: how much of the way from noise to image is done anew, above 0 and at most 1. */
  strength?: number | null;
  /** With `init`: a byte for each pixel, `[H, W]` or `[N, H, W]`; 255 is made anew, 0 stays. */
  mask?: Uint8Array | Uint8ClampedArray | null;
  /** How far the noise is turned to that of `variationSeed`, 0 to 1. */
  variation?: number | null;
  variationSeed?: number | bigint | null;
  /** A second class for each image, and how much of it is mixed into the first, 0 to 1. */
  morphClasses?: Classes | null;
  morphAmounts?: number | readonly number[] | null;
  /** "latents" leaves the decoder out. */
  output?: "images" | "latents" | null;
}

/** For what leaves the thread its turns. */
export interface Watched extends Request {
  /** Told when a step of the schedule is done. */
  progress?: ((progress: Progress) => void) | null;
  /** Stops the generation, which then fails with the signal's reason. */
  signal?: AbortSignal | null;
}

export interface Generation {
  images: Picture[];
  /** `[N, C, h, w]`. */
  latents: Float32Array;
}

export interface ModelInfo {
  readonly name: string;
  readonly description: string | null;
  /** SPDX expression for the weights. */
  readonly license: string | null;
  readonly schedule: string;
  /** SHA-256 of the bundle's manifest. */
  readonly hash: string;
  readonly guidance: number;
  readonly width: number;
  readonly height: number;
  /** Channels, rows and columns. */
  readonly latentShape: readonly number[];
  /** Pixels that one cell of the latent stands for, across and down. */
  readonly cell: readonly number[];
  readonly classCount: number;
  /** The class that stands for none, or -1. */
  readonly nullClass: number;
  readonly presetCount: number;
  /** Whether images can be asked to tile. */
  readonly tiles: boolean;
  /** Whether it takes prompts. */
  readonly prompts: boolean;
  readonly contextWidth: number;
  readonly contextTokens: number;
}

/** An address (in Node a path too), a response, or the bytes themselves. */
export type Source = string | URL | Response | ArrayBuffer | ArrayBufferView;

export interface ModelOptions {
  /** docs/precision.md. */
  precision?: "f32" | "f16-weights" | "int8" | "auto";
  /** The bits of every other platform's deterministic models; slower, README.md says how much. */
  deterministic?: boolean;
  /** From 1, the default, to 64. More want Node, or a worker of a cross-origin isolated page; else there is one. */
  threads?: number;
}

/** A plan, opened: what `flowturbo compile` makes of a bundle. */
export class Model {
  private constructor();
  static open(source: Source, options?: ModelOptions): Promise<Model>;
  readonly info: ModelInfo;
  readonly classes: string[];
  readonly presets: string[];
  readonly maps: MapName[];
  /** How many there are. */
  readonly threads: number;
  /** Why there is one thread where more were asked for, or null. */
  readonly unthreaded: string | null;
  /** The number of a class, by its label or one of its synonyms. */
  findClass(name: string): bigint;
  session(): Session;
  /** Frees the model; its sessions go on working. */
  close(): void;
}

/** Scratch memory for one generation at a time. */
export class Session {
  private constructor();
  readonly model: Model;
  /** Samples and decodes, in turns of some 12 ms, between which whatever else waits on this thread runs. */
  generate(request: Watched): Promise<Generation>;
  /** The same at one go. */
  generateSync(request: Request): Generation;
  /** Begins a generation that `step` and `finish` carry out. */
  begin(request: Request): void;
  /** Works for about so many microseconds; whether all is done. */
  step(microseconds: number): boolean;
  readonly steps: Progress;
  /** Does what is left. */
  finish(): Generation;
  /** Gives the generation under way up, or forgets the last one. */
  reset(): void;
  /** What the generation looks like so far: rough, of the latent's size. */
  preview(): Picture[];
  /** A map of the images that were made last: RGBA, or a byte for each pixel. */
  map(name: MapName, options?: { normalY?: "up" | "down" }): Picture[];
  /** For models with an encoder. */
  encode(images: readonly Picture[]): Float32Array;
  decode(latents: Float32Array, size?: readonly [number, number]): Picture[];
  close(): void;
}

/** A model and a session in a worker, from "flowturbo/worker": the page stays free. */
export class ModelWorker {
  private constructor();
  static open(source: Source, options?: ModelOptions): Promise<ModelWorker>;
  readonly info: ModelInfo;
  readonly classes: string[];
  readonly presets: string[];
  readonly maps: MapName[];
  readonly threads: number;
  readonly unthreaded: string | null;
  generate(
    request: Watched & { maps?: readonly MapName[] },
  ): Promise<Generation & { maps: Partial<Record<MapName, Picture[]>> }>;
  /** Ends the worker, and whatever it is at. */
  close(): void;
}

/**
 * Loads the library; `Model.open` does so by itself, from beside the package's files: one for models with a thread, one
 * for those with more.
 */
export function load(source?: Source | WebAssembly.Module, options?: { threads?: boolean }): Promise<unknown>;

/** The bytes of a PNG file. */
export function png(image: Picture): Promise<Uint8Array>;
