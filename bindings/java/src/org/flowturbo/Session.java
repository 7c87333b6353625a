package org.flowturbo;

import java.nio.ByteBuffer;

/**
 * Room for one generation at a time; a second thread gets {@link Status#BUSY}. After an error it is ready for the next
 * call.
 */
public final class Session implements AutoCloseable {
  /** Microseconds for {@link #step}: to the end of a step of the schedule, or of an image. */
  public static final long WHOLE_STEP = -1;

  /**
   * Who hears of the call that a thread is in. The library reports on the thread that called it, so native code holds
   * nothing of Java's.
   */
  private static final ThreadLocal<ProgressListener> HEARING = new ThreadLocal<>();

  private final Model model;
  volatile long handle;
  // Of the request that was taken last.
  private volatile ProgressListener listener;
  private int count = 1;
  private int width;
  private int height;

  Session(Model model, long handle) {
    this.model = model;
    this.handle = handle;
  }

  /** Does all that a request needs before its first step: for a loading screen. */
  public void prepare(Request request) {
    Native.sessionPrepare(handle(), Request.ready(request));
  }

  /** Makes images, and returns when they are done. */
  public Images generate(Request request) {
    Request own = Request.ready(request);
    // The library looks at the size before memory is taken for it.
    prepare(own);
    Images images = room(own.imageCount, own.width, own.height);
    generate(own, images.pixels());
    return images;
  }

  /**
   * Makes images in the caller's memory, which after a failure is as it was.
   *
   * @param pixels null for {@link Request#latentsOnly}
   */
  public void generate(Request request, Pixels pixels) {
    if (pixels != null) Pixels.written(pixels);
    Request own = Request.ready(request);
    run(own.listener, () -> Native.sessionGenerate(handle(), own, pixels));
    taken(own);
  }

  /** Begins a generation that {@link #step} carries out; one under way is given up. */
  public void begin(Request request) {
    Request own = Request.ready(request);
    Native.sessionBegin(handle(), own);
    taken(own);
  }

  /** Works for about so many microseconds, or {@link #WHOLE_STEP}; true once all is done. */
  public boolean step(long microseconds) {
    if (microseconds < WHOLE_STEP)
      throw new IllegalArgumentException("microseconds: " + microseconds + ", must not be below 0, or WHOLE_STEP");
    boolean[] done = new boolean[1];
    run(listener, () -> done[0] = Native.sessionStep(handle(), microseconds));
    return done[0];
  }

  /** Steps of the schedule that are done. */
  public int stepsMade() {
    return (int) (Native.sessionSteps(handle()) >>> 32);
  }

  /** Steps of the schedule. */
  public int stepsInAll() {
    return (int) Native.sessionSteps(handle());
  }

  /** Does what is left of the generation, and gives its images; as often as wanted. */
  public Images finish() {
    Images images = room(count, width, height);
    finish(images.pixels());
    return images;
  }

  public void finish(Pixels pixels) {
    run(listener, () -> Native.sessionFinish(handle(), Pixels.written(pixels)));
  }

  /** Draws what the generation looks like so far. */
  public void preview(Preview kind, Pixels pixels) {
    Native.sessionPreview(handle(), Native.given("kind", kind).value, Pixels.written(pixels));
  }

  /** Writes one map of the images that were made last; the y of normals points up. */
  public void map(MaterialMap map, Pixels pixels) {
    map(map, pixels, false);
  }

  public void map(MaterialMap map, Pixels pixels, boolean normalYDown) {
    Native.sessionMap(handle(), Native.given("map", map).value, normalYDown ? 1 : 0, Pixels.written(pixels));
  }

  /** The latents of the last generation: [count, channels, height, width]. */
  public float[] latents() {
    ByteBuffer latents = latentRoom(count, width, height);
    Native.sessionLatents(handle(), latents);
    return Native.floats(latents);
  }

  /** Encodes images of the model's own size to latents. */
  public float[] encode(Pixels pixels, int count) {
    return encode(pixels, count, 0, 0);
  }

  public float[] encode(Pixels pixels, int count, int width, int height) {
    Native.atLeastZero("count", count);
    Native.atLeastZero("width", width);
    Native.atLeastZero("height", height);
    ByteBuffer latents = latentRoom(count, width, height);
    Native.sessionEncode(handle(), Native.given("pixels", pixels), width, height, count, latents);
    return Native.floats(latents);
  }

  /** Decodes latents to images of the model's own size. */
  public void decode(float[] latents, Pixels pixels) {
    decode(latents, pixels, 0, 0);
  }

  public void decode(float[] latents, Pixels pixels, int width, int height) {
    Native.sessionDecode(handle(), Native.direct(Native.given("latents", latents)), Native.atLeastZero("width", width),
        Native.atLeastZero("height", height), Pixels.written(pixels));
  }

  /** Gives the generation under way up, or forgets the last one. */
  public void reset() {
    Native.sessionReset(handle());
  }

  /** Frees the session; a call that is at work on it ends as if nothing had happened. */
  @Override
  public void close() {
    Native.sessionFree(handle);
    handle = 0;
  }

  private long handle() {
    long open = handle;
    if (open == 0) throw new IllegalStateException("the session is closed");
    return open;
  }

  private void taken(Request request) {
    listener = request.listener;
    count = request.imageCount;
    width = request.width;
    height = request.height;
  }

  private Images room(int count, int width, int height) {
    return new Images(count, width == 0 ? model.width() : width, height == 0 ? model.height() : height);
  }

  private ByteBuffer latentRoom(int count, int width, int height) {
    int across = width == 0 ? model.latentWidth() : width / Math.max(1, model.cellWidth());
    int down = height == 0 ? model.latentHeight() : height / Math.max(1, model.cellHeight());
    return Native.room(4, count, model.latentChannels(), down, across);
  }

  /** Calls the library, with progress to a listener. */
  private static void run(ProgressListener listener, Runnable work) {
    ProgressListener outer = HEARING.get();
    HEARING.set(listener);
    try {
      work.run();
    } finally {
      if (outer == null) HEARING.remove();
      else HEARING.set(outer);
    }
  }

  /** Called by native code. What this throws stops the generation, and is thrown on once the library has returned. */
  static void onProgress(Progress progress) {
    HEARING.get().progressed(progress);
  }
}
