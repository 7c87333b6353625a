package org.flowturbo;

import java.nio.ByteBuffer;

/**
 * One generation: an image for each class, or for each prompt where there are no classes. What is left alone is the
 * bundle's own.
 */
public final class Request implements Cloneable {
  int imageCount;
  private long seed;
  private float guidance;
  private int output;
  private int preview;
  private int tile;
  int width;
  int height;
  private float strength;
  private int initCount;
  private long contextRows;
  private long negativeContextRows;
  private float variation;
  private long variationSeed;
  private ByteBuffer classes;
  private ByteBuffer morphClasses;
  private ByteBuffer morphAmounts;
  private ByteBuffer schedule;
  private ByteBuffer preset;
  private ByteBuffer negativePrompt;
  private ByteBuffer noise;
  private ByteBuffer mask;
  private ByteBuffer seeds;
  private ByteBuffer streams;
  private ByteBuffer context;
  private ByteBuffer negativeContext;
  private ByteBuffer promptTexts;
  private ByteBuffer promptAddresses; // room for native code to write them: 8 bytes for each
  private Pixels init;
  private long cancel;
  ProgressListener listener;
  private int prompts;
  private int count; // 0 unless it is set

  /** Of images of these classes: one for each, or none, with prompts or contexts. */
  public Request(long... classes) {
    Native.requestInit(this);
    this.classes = classes == null || classes.length == 0 ? null : Native.direct(classes);
  }

  /** What the images show, in words, for models with a text encoder: one for each, or one for all. */
  public Request prompts(String... texts) {
    promptTexts = Native.direct("prompts", texts);
    promptAddresses = texts == null ? null : Native.room(8, texts.length);
    prompts = texts == null ? 0 : texts.length;
    return this;
  }

  /** What they do not show. */
  public Request negativePrompt(String text) {
    negativePrompt = one("negativePrompt", text);
    return this;
  }

  /** Images to make: as many as classes, or else prompts, unless it is set. */
  public Request count(int images) {
    count = Native.atLeastZero("count", images);
    return this;
  }

  /** Seed of the noise: the same on every machine. */
  public Request seed(long seed) {
    this.seed = seed;
    return this;
  }

  /** A seed for each image instead. */
  public Request seeds(long... seeds) {
    this.seeds = Native.direct(seeds);
    return this;
  }

  /** The stream of its seed that each image's noise is taken from. */
  public Request streams(long... streams) {
    this.streams = Native.direct(streams);
    return this;
  }

  /** The noise to start from instead: floats [count, channels, height, width] of the latent. */
  public Request noise(float[] noise) {
    this.noise = Native.direct(noise);
    return this;
  }

  /** Turns the noise towards that of another seed, by 0 to 1 of the way. */
  public Request variation(long seed, float amount) {
    variationSeed = seed;
    variation = amount;
    return this;
  }

  /** The steps, such as "H1P5R3". */
  public Request schedule(String steps) {
    schedule = one("schedule", steps);
    return this;
  }

  /** Scale of classifier-free guidance; 1 is none. */
  public Request guidance(float scale) {
    guidance = scale;
    return this;
  }

  /** A name from the bundle for a schedule and a guidance, where those are not set. */
  public Request preset(String name) {
    preset = one("preset", name);
    return this;
  }

  public Request tile(Tile axes) {
    tile = Native.given("axes", axes).value;
    return this;
  }

  /** Columns and rows of the images; 0 for the model's own. */
  public Request size(int width, int height) {
    this.width = Native.atLeastZero("width", width);
    this.height = Native.atLeastZero("height", height);
    return this;
  }

  /**
   * Begins with images, one for each or one for all.
   *
   * @param strength how much of the way from noise to image is done anew, above 0 and at most 1
   */
  public Request init(Pixels images, int count, float strength) {
    init = images;
    initCount = Native.atLeastZero("count", count);
    this.strength = strength;
    return this;
  }

  /** What of the images to begin with is made anew: a byte of a direct buffer for each pixel, 255 is new. */
  public Request mask(ByteBuffer bytes) {
    mask = bytes == null ? null : new Pixels(bytes, PixelFormat.GREY8).memory;
    return this;
  }

  /** A second class for each image, and how much of it, 0 to 1. */
  public Request morph(long[] classes, float[] amounts) {
    morphClasses = Native.direct(classes);
    morphAmounts = Native.direct(amounts);
    return this;
  }

  /** Contexts, for models that take them: one for each image, or one for all. */
  public Request context(float[] context, int rows) {
    this.context = Native.direct(context);
    contextRows = Native.atLeastZero("rows", rows);
    return this;
  }

  /** Likewise, what guidance goes away from. */
  public Request negativeContext(float[] context, int rows) {
    negativeContext = Native.direct(context);
    negativeContextRows = Native.atLeastZero("rows", rows);
    return this;
  }

  /** Latents alone: the decoder does not run. */
  public Request latentsOnly(boolean alone) {
    output = alone ? 1 : 0;
    return this;
  }

  /** Shows the listener what the images look like so far. */
  public Request preview(boolean shown) {
    preview = (shown ? Preview.LINEAR : Preview.NONE).value;
    return this;
  }

  /** Stops the generation. */
  public Request cancel(CancelToken token) {
    cancel = token == null ? 0 : token.handle;
    return this;
  }

  public Request listener(ProgressListener listener) {
    this.listener = listener;
    return this;
  }

  /**
   * A copy of a request, so that a listener may change the caller's while the library reads this one; checked for what
   * native code is not told the length of.
   */
  static Request ready(Request request) {
    try {
      return ((Request) Native.given("request", request).clone()).checked();
    } catch (CloneNotSupportedException e) {
      throw new AssertionError(e);
    }
  }

  private Request checked() {
    int given = classes == null ? prompts : classes.capacity() / 8;
    imageCount = count > 0 ? count : Math.max(1, given);
    forEach("classes", classes, 8);
    forEach("morph classes", morphClasses, 8);
    forEach("morph amounts", morphAmounts, 4);
    return this;
  }

  private void forEach(String what, ByteBuffer values, int bytes) {
    if (values != null && values.capacity() != (long) bytes * imageCount)
      throw new IllegalArgumentException(
          what + ": " + values.capacity() / bytes + " for " + imageCount + " images");
  }

  private static ByteBuffer one(String what, String text) {
    return text == null ? null : Native.direct(what, text);
  }
}
