package org.flowturbo;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Objects;

/** The functions of native/flowturbo_jni.c, and memory for them: direct buffers, from their beginning. */
final class Native {
  static {
    System.loadLibrary("flowturbo_jni");
  }

  private Native() {}

  static native byte[] version();

  static native void savePng(Pixels pixels, int width, int height, ByteBuffer path);

  static native long tokenNew();

  static native void tokenCancel(long token);

  static native void tokenReset(long token);

  static native boolean tokenIsCancelled(long token);

  static native void tokenFree(long token);

  static native long modelOpen(ByteBuffer path, ModelOptions options);

  static native long modelOpenMemory(ByteBuffer data, ModelOptions options);

  static native void modelFree(long model);

  static native byte[][] modelInfo(long model, Model filled);

  static native byte[] modelLabel(long model, long number);

  static native byte[] modelPreset(long model, int index);

  static native long modelFindClass(long model, ByteBuffer name);

  static native int modelMaps(long model);

  static native long[] modelPrepare(long model, Request request);

  static native void requestInit(Request filled);

  static native long sessionNew(long model);

  static native void sessionFree(long session);

  static native void sessionPrepare(long session, Request request);

  static native void sessionGenerate(long session, Request request, Pixels pixels);

  static native void sessionBegin(long session, Request request);

  static native boolean sessionStep(long session, long microseconds);

  static native long sessionSteps(long session);

  static native void sessionPreview(long session, int kind, Pixels pixels);

  static native void sessionFinish(long session, Pixels pixels);

  static native void sessionReset(long session);

  static native void sessionMap(long session, int map, int flags, Pixels pixels);

  static native void sessionLatents(long session, ByteBuffer latents);

  static native void sessionEncode(long session, Pixels pixels, int width, int height, int count, ByteBuffer latents);

  static native void sessionDecode(long session, ByteBuffer latents, int width, int height, Pixels pixels);

  /** A text of the library's; null for none. */
  static String text(byte[] utf8) {
    return utf8 == null ? null : new String(utf8, StandardCharsets.UTF_8);
  }

  /** Texts as the library takes them, each with the zero that ends it, one behind the other; null for null. */
  static ByteBuffer direct(String what, String... texts) {
    if (texts == null) return null;
    StringBuilder all = new StringBuilder();
    for (String text : texts) {
      if (text == null) throw new IllegalArgumentException(what + ": one of them is null");
      if (text.indexOf('\0') >= 0)
        throw new IllegalArgumentException(what + ": has a NUL, where the library would take it to end");
      all.append(text).append('\0');
    }
    try {
      ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(all));
      ByteBuffer buffer = room(bytes.remaining());
      buffer.put(bytes);
      return buffer;
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException(what + ": has half of a surrogate pair, which is no character", e);
    }
  }

  static ByteBuffer direct(long[] numbers) {
    if (numbers == null) return null;
    ByteBuffer buffer = room(8, numbers.length);
    buffer.asLongBuffer().put(numbers);
    return buffer;
  }

  static ByteBuffer direct(float[] numbers) {
    if (numbers == null) return null;
    ByteBuffer buffer = room(4, numbers.length);
    buffer.asFloatBuffer().put(numbers);
    return buffer;
  }

  static float[] floats(ByteBuffer buffer) {
    float[] numbers = new float[buffer.capacity() / 4];
    buffer.asFloatBuffer().get(numbers);
    return numbers;
  }

  /** A buffer of as many bytes as the product of some sizes, none of which is below 0. */
  static ByteBuffer room(int... sizes) {
    long bytes = 1;
    for (int size : sizes) {
      bytes *= size;
      if (bytes > Integer.MAX_VALUE)
        throw new IllegalArgumentException(Arrays.toString(sizes).replace(", ", " x ")
            + " bytes are more than a buffer holds");
    }
    return ByteBuffer.allocateDirect((int) bytes).order(ByteOrder.nativeOrder());
  }

  /** Refuses null, which native code would follow. */
  static <T> T given(String what, T value) {
    return Objects.requireNonNull(value, what + ": must not be null");
  }

  static int atLeastZero(String what, int value) {
    if (value < 0) throw new IllegalArgumentException(what + ": " + value + ", must not be below 0");
    return value;
  }
}
