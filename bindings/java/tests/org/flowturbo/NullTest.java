package org.flowturbo;

import static org.flowturbo.SessionTest.grass;
import static org.flowturbo.SessionTest.refused;
import static org.junit.Assert.assertEquals;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.AfterClass;
import org.junit.BeforeClass;
import org.junit.Test;
import org.junit.function.ThrowingRunnable;

/** Null in the place of each thing: a default, or refused by its name. */
public class NullTest {
  private static final ByteBuffer memory = ByteBuffer.allocateDirect(128 * 128 * 4);
  private static final Pixels pixels = new Pixels(memory, PixelFormat.RGBA8);
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

  @Test
  public void optionsAreTheDefaultOnes() throws IOException {
    ByteBuffer plan = Files.mapped(Files.TEXTURES);
    try (Model one = Model.open(Files.TEXTURES, null); Model two = Model.openMemory(plan, null)) {
      assertEquals(one.threads(), two.threads());
    }
  }

  @Test
  public void whatIsNeededIsRefusedByName() {
    Map<String, ThrowingRunnable> others = new LinkedHashMap<>();
    others.put("path", () -> Model.open(null));
    others.put("data", () -> Model.openMemory(null, null));
    others.put("numbers", () -> new ModelOptions().precision(null));
    others.put("where", () -> new ModelOptions().device(null));
    others.put("name", () -> model.findClass(null));
    others.put("memory", () -> new Pixels(null, PixelFormat.RGBA8));
    others.put("format", () -> new Pixels(memory, null));
    others.put("axes", () -> new Request(0).tile(null));
    others.put("latents", () -> session.decode(null, pixels));
    others.put("kind", () -> session.preview(null, pixels));
    others.put("map", () -> session.map(null, pixels));
    others.forEach((what, work) -> refused(NullPointerException.class, what + ": must not be null", work));
    refused(NullPointerException.class, "path: must not be null", () -> pixels.savePng(128, 128, null));
    List<ThrowingRunnable> ofPixels = List.of(() -> session.encode(null, 1),
        () -> session.decode(new float[2048], null), () -> session.finish(null),
        () -> session.preview(Preview.LINEAR, null), () -> session.map(MaterialMap.COLOR, null));
    for (ThrowingRunnable work : ofPixels) refused(NullPointerException.class, "pixels: must not be null", work);
    List<ThrowingRunnable> ofRequests = List.of(() -> model.prepare(null), () -> session.prepare(null),
        () -> session.generate(null), () -> session.generate(null, pixels), () -> session.begin(null));
    for (ThrowingRunnable work : ofRequests) refused(NullPointerException.class, "request: must not be null", work);
    refused(Status.INVALID_ARGUMENT, "pixels", () -> session.generate(grass(), null));
  }

  @Test
  public void whatWasSetIsCleared() {
    Request request = new Request((long[]) null).prompts("moss").prompts((String[]) null).count(1).latentsOnly(true);
    refused(Status.INVALID_ARGUMENT, "classes", () -> session.generate(request));
    ByteBuffer plain = session.generate(grass()).rgba(0);
    Request cleared = grass().noise(new float[1]).noise(null).mask(memory).mask(null).seeds(8).seeds((long[]) null)
        .streams(3).streams((long[]) null).preset("fast").preset(null).morph(new long[] {1}, new float[] {1})
        .morph(null, null).context(new float[12], 1).context(null, 0).negativePrompt("moss").negativePrompt(null)
        .init(pixels, 1, 1).init(null, 0, 1).cancel(null).listener(null);
    assertEquals(plain, session.generate(cleared).rgba(0));
  }
}
