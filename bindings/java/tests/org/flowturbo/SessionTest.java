package org.flowturbo;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.io.IOException;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.junit.AfterClass;
import org.junit.BeforeClass;
import org.junit.Test;
import org.junit.function.ThrowingRunnable;

/** Models and sessions against the shared library, and their images against the program's. */
public class SessionTest {
  private static final String SHORT = "H1P2R1";
  private static Model model;
  private static Session session;

  @BeforeClass
  public static void open() {
    model = Files.open(Files.TEXTURES);
    session = model.session();
  }

  @AfterClass
  public static void close() {
    model.close();
    session.close();
  }

  static Request grass() {
    return new Request(4).seed(7).schedule(SHORT);
  }

  private static byte[] bytes(ByteBuffer buffer) {
    byte[] all = new byte[buffer.remaining()];
    buffer.duplicate().get(all);
    return all;
  }

  private static byte[] made(Request request) {
    return bytes(session.generate(request).rgba(0));
  }

  /** Three of each four: a PNG file keeps no alpha. */
  private static int[] rgb(ByteBuffer rgba) {
    int[] all = new int[rgba.remaining() / 4 * 3];
    for (int at = 0; at < all.length; at++) all[at] = rgba.get(at / 3 * 4 + at % 3) & 255;
    assertTrue("not blank", Arrays.stream(all).distinct().count() > 10);
    return all;
  }

  static <T extends Throwable> T refused(Class<T> kind, String words, ThrowingRunnable work) {
    T thrown = assertThrows(kind, work);
    assertTrue(thrown.getMessage(), thrown.getMessage().contains(words) && !thrown.getMessage().contains("\n"));
    return thrown;
  }

  static FlowTurboException refused(int status, String words, ThrowingRunnable work) {
    FlowTurboException thrown = refused(FlowTurboException.class, words, work);
    assertEquals(thrown.getMessage(), status, thrown.status());
    return thrown;
  }

  @Test
  public void imagesAreTheProgramsToTheByte() throws Exception {
    Images grass = session.generate(new Request(model.findClass("grass")).seed(7));
    assertArrayEquals(Files.ofTheProgram(Files.TEXTURES, "--class", "grass", "--seed", "7"), rgb(grass.rgba(0)));
    try (Model other = Files.open(Files.BUNDLE); Session any = other.session()) {
      Images large = any.generate(new Request(0).tile(Tile.BOTH).size(256, 128).schedule(SHORT).guidance(2));
      assertEquals("256 x 128", large.width() + " x " + large.height());
      int[] expected = Files.ofTheProgram(Files.BUNDLE, "--class", "brick", "--seamless", "both", "--size", "256x128",
          "--schedule", SHORT, "--guidance", "2");
      assertArrayEquals(expected, rgb(large.rgba(0)));
      assertEquals(8 * 16 * 32, any.latents().length);
      ByteBuffer wide = ByteBuffer.allocateDirect(4 * 256 * 128);
      any.decode(any.latents(), new Pixels(wide, PixelFormat.RGBA8), 256, 128);
      assertArrayEquals(expected, rgb(wide));
      assertEquals(8 * 16 * 32, any.encode(new Pixels(wide, PixelFormat.RGBA8), 1, 256, 128).length);
    }
    try (Model other = Files.open(Files.PROMPTS); Session prompted = other.session()) {
      Images moss = prompted.generate(new Request().prompts("木の床 🌲").negativePrompt("rust"));
      assertArrayEquals(Files.ofTheProgram(Files.PROMPTS, "--prompt", "木の床 🌲", "--negative-prompt", "rust"),
          rgb(moss.rgba(0)));
    }
    try (Model other = Files.open(Files.MATERIALS); Session material = other.session()) {
      material.generate(new Request(1));
      ByteBuffer heights = ByteBuffer.allocateDirect(2 * 16 * 16).order(ByteOrder.nativeOrder());
      material.map(MaterialMap.HEIGHT, new Pixels(heights, PixelFormat.GREY16));
      int[] found = new int[16 * 16];
      for (int at = 0; at < found.length; at++) found[at] = heights.getShort(2 * at) & 65535;
      assertArrayEquals(Files.ofTheProgram(Files.MATERIALS, "--class", "1", "--maps", "height"), found);
    }
  }

  @Test
  public void pngFilesHoldTheImages() throws IOException {
    Images two = session.generate(new Request(0, 4).schedule("E1"));
    File file = File.createTempFile("flowturbo", ".png");
    two.savePng(1, file.getPath());
    assertArrayEquals(rgb(two.rgba(1)), Files.samples(file));
    assertTrue(file.delete());
    refused(IllegalArgumentException.class, "index: 2 of 2", () -> two.savePng(2, file.getPath()));
    refused(Status.IO, "nowhere", () -> two.savePng("/nowhere/x.png"));
  }

  @Test
  public void aModelSaysWhatItIs() {
    assertTrue(Model.libraryVersion().startsWith("0."));
    assertEquals("128 128 8 16 16 8 8 H1P6R5", model.width() + " " + model.height() + " " + model.latentChannels() + " "
        + model.latentHeight() + " " + model.latentWidth() + " " + model.cellWidth() + " " + model.cellHeight() + " "
        + model.schedule());
    assertEquals("brick", model.label(0));
    assertEquals("0 3", model.findClass("Brick") + " " + model.findClass("3"));
    assertEquals(model.classCount(), model.nullClass());
    assertTrue(model.threads() == 1 && model.tiles() && model.guidance() == 2.5f && model.contextTokens() == 0);
    assertEquals(Device.CPU, model.device());
    assertTrue(model.hash().length() == 64 && model.name().equals("textures") && model.presets().contains("fast"));
    assertTrue(model.description().length() > 5 && model.license().startsWith("CC"));
    assertTrue(model.has(Network.REFINER) && model.has(Network.ENCODER) && !model.has(Network.TEXT));
    assertEquals(EnumSet.of(MaterialMap.COLOR), model.maps());
    try (Model other = Files.open(Files.CONTEXTS)) {
      assertEquals(12, other.contextWidth());
    }
    Memory few = model.prepare(grass());
    Memory many = model.prepare(new Request(0, 1, 2, 3).schedule(SHORT));
    assertTrue(few.model() > 1 << 20 && many.session() > few.session() && few.passing() >= 0);
  }

  @Test
  public void pixelsGoToTheCallersMemoryFromItsPosition() {
    Request request = new Request(0, 4).schedule("E1");
    Images images = session.generate(request);
    int[] first = rgb(images.rgba(0));
    int[] second = rgb(images.rgba(1));
    int stride = 128 * 3 + 5;
    int image = 128 * stride + 7;
    ByteBuffer memory = ByteBuffer.allocateDirect(11 + 2 * image + 13);
    for (int at = 0; at < memory.capacity(); at++) memory.put(at, (byte) 1);
    memory.position(11).limit(11 + 2 * image);
    session.generate(request, new Pixels(memory, PixelFormat.RGB8).strides(stride, image));
    memory.clear();
    for (int at = 0; at < memory.capacity(); at++) {
      int place = at - 11;
      int row = place % image / stride;
      int column = place % image % stride;
      boolean gap = place < 0 || place >= 2 * image || row >= 128 || column >= 384;
      int expected = gap ? 1 : (place < image ? first : second)[row * 384 + column];
      assertEquals("byte " + at, expected, memory.get(at) & 255);
    }
    ByteBuffer floats = ByteBuffer.allocateDirect(4 * 2 * first.length).order(ByteOrder.nativeOrder());
    session.finish(new Pixels(floats, PixelFormat.RGB_F32));
    for (int at = 0; at < first.length; at++) assertEquals(first[at], floats.getFloat(4 * at) * 255, 0.501);

    refused(IllegalArgumentException.class, "direct buffer",
        () -> new Pixels(ByteBuffer.allocate(9), PixelFormat.RGB8));
    refused(IllegalArgumentException.class, "read-only",
        () -> session.finish(new Pixels(memory.asReadOnlyBuffer(), PixelFormat.RGB8)));
    refused(Status.INVALID_ARGUMENT, "9 bytes",
        () -> session.finish(new Pixels(ByteBuffer.allocateDirect(9), PixelFormat.RGB8)));
  }

  @Test
  public void editsArePassedOn() {
    Images begun = session.generate(grass());
    byte[] plain = bytes(begun.rgba(0));
    Pixels pixels = new Pixels(begun.rgba(0), PixelFormat.RGBA8);
    float[] noise = new float[2048];
    for (int at = 0; at < noise.length; at++) noise[at] = at % 7 / 3f - 1;
    Map<String, Consumer<Request>> others = new LinkedHashMap<>();
    others.put("begin", request -> request.init(pixels, 1, 0.5f));
    others.put("vary", request -> request.variation(9, 0.5f));
    others.put("morph", request -> request.morph(new long[] {1}, new float[] {0.5f}));
    others.put("seeds", request -> request.seeds(8));
    others.put("streams", request -> request.streams(3));
    others.put("noise", request -> request.noise(noise));
    others.put("guidance", request -> request.guidance(1));
    others.put("preset", request -> request.schedule(null).preset("fast"));
    others.put("tile", request -> request.tile(Tile.X));
    others.forEach((what, change) -> {
      Request request = grass();
      change.accept(request);
      assertFalse(what, Arrays.equals(plain, made(request)));
    });
    assertArrayEquals(plain, made(new Request(4).seeds(7).schedule(SHORT)));

    // The upper half is made anew, the lower one kept.
    ByteBuffer mask = ByteBuffer.allocateDirect(128 * 128);
    for (int at = 0; at < mask.capacity() / 2; at++) mask.put(at, (byte) 255);
    byte[] half = made(new Request(9).init(pixels, 1, 1).mask(mask).schedule(SHORT));
    int middle = half.length / 2;
    assertArrayEquals(Arrays.copyOfRange(plain, middle, half.length), Arrays.copyOfRange(half, middle, half.length));
    assertFalse(Arrays.equals(Arrays.copyOf(plain, middle), Arrays.copyOf(half, middle)));
  }

  @Test
  public void promptsAndContextsArePassedOnOrRefused() {
    refused(Status.INVALID_ARGUMENT, "no text encoder", () -> session.generate(new Request().prompts("moss")));
    refused(FlowTurboException.class, "context", () -> session.generate(new Request(0).context(new float[12], 1)));
    try (Model other = Files.open(Files.PROMPTS); Session prompted = other.session()) {
      Images both = prompted.generate(new Request().prompts("moss", "rust"));
      assertEquals(2, both.count());
      assertFalse(Arrays.equals(bytes(both.rgba(0)), bytes(both.rgba(1))));
      assertArrayEquals(bytes(prompted.generate(new Request().prompts("moss")).rgba(0)),
          bytes(prompted.generate(new Request().prompts("moss").count(1)).rgba(0)));
      refused(IllegalArgumentException.class, "prompts: has a NUL", () -> new Request().prompts("a\0b"));
      refused(IllegalArgumentException.class, "half of a surrogate pair", () -> new Request().prompts("a\ud83c"));
      refused(IllegalArgumentException.class, "prompts: one of them is null", () -> new Request().prompts("a", null));
    }
    try (Model other = Files.open(Files.CONTEXTS); Session free = other.session()) {
      Request request = new Request(0, 0).latentsOnly(true);
      free.generate(request, null);
      float[] plain = free.latents();
      free.generate(request.context(new float[12], 1), null);
      assertArrayEquals(plain, free.latents(), 0);
      float[] context = new float[24];
      for (int at = 0; at < context.length; at++) context[at] = at * 0.1f;
      free.generate(request.context(context, 2), null);
      float[] with = free.latents();
      assertFalse(Arrays.equals(plain, with));
      free.generate(request.negativeContext(Arrays.copyOf(context, 12), 1), null);
      assertFalse(Arrays.equals(with, free.latents()));
    }
  }

  @Test
  public void latentsGoOutAndBackIn() {
    Images image = session.generate(grass());
    float[] latents = session.latents();
    assertEquals(8 * 16 * 16, latents.length);
    ByteBuffer decoded = ByteBuffer.allocateDirect(4 * 128 * 128);
    session.decode(latents, new Pixels(decoded, PixelFormat.RGBA8));
    assertArrayEquals(rgb(image.rgba(0)), rgb(decoded));
    float[] encoded = session.encode(new Pixels(image.rgba(0), PixelFormat.RGBA8), 1);
    session.decode(encoded, new Pixels(decoded, PixelFormat.RGBA8));
    int[] again = rgb(decoded);
    int[] before = rgb(image.rgba(0));
    long apart = 0;
    for (int at = 0; at < again.length; at++) apart += Math.abs(again[at] - before[at]);
    assertTrue("apart " + apart, apart < 16L * again.length);
  }

  @Test
  public void mapsComeAsTheModelMakesThem() {
    try (Model other = Files.open(Files.MATERIALS); Session material = other.session()) {
      assertEquals(EnumSet.of(MaterialMap.COLOR, MaterialMap.NORMAL, MaterialMap.HEIGHT, MaterialMap.ROUGHNESS,
          MaterialMap.ORM, MaterialMap.HDRP_MASK), other.maps());
      material.generate(new Request(0));
      ByteBuffer up = ByteBuffer.allocateDirect(16 * 16 * 3);
      ByteBuffer down = ByteBuffer.allocateDirect(16 * 16 * 3);
      material.map(MaterialMap.NORMAL, new Pixels(up, PixelFormat.RGB8));
      material.map(MaterialMap.NORMAL, new Pixels(down, PixelFormat.RGB8), true);
      for (int at = 1; at < up.capacity(); at += 3) assertEquals(255, (up.get(at) & 255) + (down.get(at) & 255), 1);
      assertNotEquals(up, down);
      refused(Status.INVALID_ARGUMENT, "it has color",
          () -> material.map(MaterialMap.METALLIC, new Pixels(ByteBuffer.allocateDirect(256), PixelFormat.GREY8)));
    }
  }

  @Test
  public void aGenerationInPiecesIsTheWholeOne() {
    byte[] whole = made(grass());
    StringBuilder told = new StringBuilder();
    Request request = grass().listener(step -> told.append(step.kind()).append(step.decoded() > 0 ? "!" : ""));
    session.begin(request);
    request.size(1 << 20, 8).listener(null); // it was only looked at
    int pieces = 1;
    for (; !session.step(1000); pieces++) {
      assertTrue(session.stepsMade() <= 4 && session.stepsInAll() == 4);
      if (pieces != 10) continue;
      ByteBuffer seen = ByteBuffer.allocateDirect(16 * 16 * 3);
      session.preview(Preview.LINEAR, new Pixels(seen, PixelFormat.RGB8));
      byte[] pixels = bytes(seen);
      assertFalse("a preview", Arrays.equals(pixels, new byte[pixels.length]));
    }
    assertTrue(pieces > 10);
    assertArrayEquals(whole, bytes(session.finish().rgba(0)));
    assertEquals("HPPRR!", told.toString());
    refused(IllegalArgumentException.class, "microseconds: -5", () -> session.step(-5));
    session.reset();
    refused(Status.INVALID_ARGUMENT, "", () -> session.finish());
    refused(Status.INVALID_ARGUMENT, "", () -> session.step(Session.WHOLE_STEP));
    session.prepare(grass());
  }

  private static final class Stop extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /** What Kotlin does: a checked exception that nobody declares. */
  @SuppressWarnings("unchecked")
  private static <T extends Throwable> void undeclared(Throwable thrown) throws T {
    throw (T) thrown;
  }

  @Test
  public void progressIsToldAndWhatAListenerThrowsComesOut() {
    List<Progress> told = new ArrayList<>();
    session.generate(grass().listener(told::add).preview(true));
    assertEquals("1/4H0/1 2/4P0/1 3/4P0/1 4/4R0/1 4/4R1/1", told.stream().map(step -> step.step() + "/" + step.steps()
        + step.kind() + step.decoded() + "/" + step.images()).collect(Collectors.joining(" ")));
    Progress first = told.get(0);
    assertEquals("16 16 768", first.previewWidth() + " " + first.previewHeight() + " " + first.preview().length);
    assertTrue(first.microseconds() > 0);
    session.generate(grass().listener(step -> assertNull(step.preview())));

    Throwable[] all = {new Stop(), new StackOverflowError(), new IOException("of the listener's")};
    for (Throwable thrown : all) {
      Request request = grass().listener(step -> {
        if (step.step() == 2) SessionTest.<RuntimeException>undeclared(thrown);
      });
      assertTrue(thrown == assertThrows(Throwable.class, () -> session.generate(request)));
      session.begin(request);
      assertTrue(thrown == assertThrows(Throwable.class, () -> {
        while (!session.step(Session.WHOLE_STEP)) continue;
      }));
    }
    FlowTurboException[] busy = new FlowTurboException[1];
    session.generate(grass().listener(step -> busy[0] = refused(Status.BUSY, "", () -> session.reset())));
    assertEquals(Status.BUSY, busy[0].status());
    // Another session may be used from inside, and tells its own listener.
    List<Progress> inner = new ArrayList<>();
    told.clear();
    try (Session other = model.session()) {
      session.generate(grass().listener(step -> {
        told.add(step);
        if (step.step() == 1) other.generate(grass().listener(inner::add));
      }));
    }
    assertEquals("5 5", told.size() + " " + inner.size());
  }

  @Test
  public void cancellingStops() {
    try (CancelToken token = new CancelToken()) {
      ByteBuffer memory = ByteBuffer.allocateDirect(128 * 128 * 3);
      Request request = grass().cancel(token).listener(step -> token.cancel());
      refused(Status.CANCELLED, "", () -> session.generate(request, new Pixels(memory, PixelFormat.RGB8)));
      assertTrue(token.isCancelled());
      assertArrayEquals(new byte[memory.capacity()], bytes(memory));
      token.reset();
      assertFalse(token.isCancelled());
      CompletableFuture<Void> task = CompletableFuture.runAsync(() -> {
        while (true) session.generate(grass().cancel(token));
      });
      token.cancel();
      Throwable thrown = assertThrows(Exception.class, task::get).getCause();
      assertEquals(Status.CANCELLED, ((FlowTurboException) thrown).status());
      refused(Status.CANCELLED, "", () -> Model.open(Files.TEXTURES, new ModelOptions().cancel(token)));
    }
    assertEquals(1, session.generate(grass()).count());
  }

  @Test
  public void whatIsRefusedIsOneLineWithItsStatus() {
    refused(Status.INVALID_ARGUMENT, "'Q' is no step", () -> session.generate(new Request(0).schedule("H1Q2")));
    refused(Status.INVALID_ARGUMENT, "class 99", () -> session.generate(new Request(99)));
    refused(Status.INVALID_ARGUMENT, "classes", () -> session.generate(new Request()));
    refused(Status.INVALID_ARGUMENT, "grass", () -> model.findClass("gras"));
    refused(Status.INVALID_ARGUMENT, "", () -> model.label(99));
    refused(Status.INVALID_ARGUMENT, "🌲", () -> model.findClass("🌲"));
    refused(Status.IO, "nothing", () -> Model.open("nothing"));
    refused(FlowTurboException.class, "", () -> session.generate(new Request(0).size(1 << 30, 1 << 30)));
    refused(FlowTurboException.class, "", () -> session.generate(new Request(0).guidance(Float.NaN)));
    refused(IllegalArgumentException.class, "width: -8", () -> new Request(0).size(-8, 8));
    Pixels image = new Pixels(ByteBuffer.allocateDirect(9), PixelFormat.RGB8);
    refused(IllegalArgumentException.class, "[4 x 2147483647 x 8 x 16 x 16] bytes",
        () -> session.encode(image, Integer.MAX_VALUE));
    refused(IllegalArgumentException.class, "x 268435455 x 268435455] bytes",
        () -> session.encode(image, 1, Integer.MAX_VALUE, Integer.MAX_VALUE));
    refused(IllegalArgumentException.class, "classes: 1 for 2 images", () -> session.generate(new Request(0).count(2)));
    refused(IllegalArgumentException.class, "morph amounts: 1 for 2 images",
        () -> session.generate(new Request(0, 1).morph(new long[] {1, 2}, new float[1])));
    refused(IllegalArgumentException.class, "path: has a NUL", () -> Model.open("a\0b"));
    refused(IllegalArgumentException.class, "direct",
        () -> Model.openMemory(ByteBuffer.allocate(9), new ModelOptions()));
    Session gone = model.session();
    gone.close();
    gone.close();
    refused(IllegalStateException.class, "closed", () -> gone.generate(grass()));
    Model closed = Files.open(Files.MATERIALS);
    closed.close();
    refused(IllegalStateException.class, "closed", () -> closed.session());
    CancelToken freed = new CancelToken();
    freed.close();
    freed.close();
    refused(Status.INVALID_HANDLE, "", () -> freed.cancel());
    assertEquals(1, session.generate(grass()).count());
  }

  @Test
  public void aListenerMayChangeTheRequest() {
    Request request = grass();
    byte[] plain = made(request);
    List<Progress> told = new ArrayList<>();
    request.listener(step -> {
      told.add(step);
      request.size(256, 128).count(3).seeds(1, 2, 3).listener(null);
    });
    assertArrayEquals(plain, made(request));
    assertEquals(5, told.size());
    assertEquals(8 * 16 * 16, session.latents().length);
    assertArrayEquals(plain, bytes(session.finish().rgba(0)));
  }

  @Test
  public void aSecondThreadIsToldThatASessionIsBusy() throws Exception {
    CountDownLatch inside = new CountDownLatch(1);
    CountDownLatch tried = new CountDownLatch(1);
    List<Thread> told = new ArrayList<>();
    CompletableFuture<Images> task = CompletableFuture.supplyAsync(() -> session.generate(grass().listener(step -> {
      told.add(Thread.currentThread());
      inside.countDown();
      try {
        tried.await();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    })));
    inside.await();
    refused(Status.BUSY, "", () -> session.begin(grass().listener(step -> told.clear())));
    tried.countDown();
    byte[] undisturbed = bytes(task.get().rgba(0));
    assertArrayEquals(made(grass()), undisturbed);
    assertEquals(5, told.size());
  }

  @Test
  public void threadsThatShareASessionGetTheirOwnImagesOrBusy() throws Exception {
    // Of a model that takes microseconds, so that they meet anywhere.
    List<CompletableFuture<Void>> works = new ArrayList<>();
    try (Model tiny = Files.open(Files.MATERIALS); Session shared = tiny.session()) {
      Request[] requests = {new Request(0), new Request(1)};
      byte[][] expected = new byte[2][];
      for (int of = 0; of < 2; of++) expected[of] = bytes(shared.generate(requests[of]).rgba(0));
      for (int of = 0; of < 2; of++) {
        Request request = requests[of];
        byte[] own = expected[of];
        works.add(CompletableFuture.runAsync(() -> {
          for (int images = 0; images < 2000; ) {
            try {
              assertArrayEquals(own, bytes(shared.generate(request).rgba(0)));
              images++;
            } catch (FlowTurboException e) {
              assertEquals(e.getMessage(), Status.BUSY, e.status());
            }
          }
        }));
      }
      for (CompletableFuture<Void> work : works) work.get();
    }
  }

  /** Frees a session on a thread that Java does not know; the library then lets go of what was lent to it there. */
  private static native boolean freeElsewhere(long session);

  @Test
  public void aPlanInMemoryIsLentUntilTheLastSessionIsClosed() throws Exception {
    ByteBuffer mapped = Files.mapped(Files.TEXTURES);
    ByteBuffer memory = ByteBuffer.allocateDirect(3 + mapped.remaining());
    memory.position(3);
    memory.put(mapped).position(3);
    WeakReference<ByteBuffer> lent = new WeakReference<>(memory);
    Session opened;
    try (Model other = Model.openMemory(memory, new ModelOptions().threads(1).deterministic(true))) {
      opened = other.session();
    }
    memory = null;
    System.gc();
    assertArrayEquals(made(grass()), bytes(opened.generate(grass()).rgba(0)));
    assertTrue("held", lent.get() != null);
    System.loadLibrary("foreign");
    assertTrue(freeElsewhere(opened.handle));
    refused(Status.INVALID_HANDLE, "", () -> opened.generate(grass()));
    opened.close();
    for (int turn = 0; turn < 50 && lent.get() != null; turn++) {
      System.gc();
      Thread.sleep(20);
    }
    assertNull("let go", lent.get());
    refused(FlowTurboException.class, "", () -> Model.openMemory(ByteBuffer.allocateDirect(3), new ModelOptions()));
  }

  /** Bytes of memory that the process holds. */
  private static long resident() {
    return 4096 * Long.parseLong(Files.text(java.nio.file.Paths.get("/proc/self/statm")).split(" ")[1]);
  }

  @Test
  public void nothingIsLeaked() {
    // More tokens than the library has at a time.
    for (int turn = 0; turn < 10000; turn++) new CancelToken().close();
    long before = 0;
    for (int turn = 0; turn < 12; turn++) {
      try (Model other = Files.open(Files.TEXTURES); Session own = other.session()) {
        for (int image = 0; image < 8; image++) {
          own.generate(new Request(0).schedule("E1").preview(true).listener(step -> {}));
          assertThrows(FlowTurboException.class, () -> own.generate(new Request(99)));
        }
      }
      System.gc();
      if (turn == 3) before = resident();
    }
    // A model that were kept would be 20 MB a turn.
    long grown = resident() - before;
    assertTrue("memory grew by " + (grown >> 20) + " MB in eight turns", grown < 60 << 20);
  }
}
