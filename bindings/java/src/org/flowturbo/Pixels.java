package org.flowturbo;

import java.nio.ByteBuffer;

/**
 * Memory for one or more images: what a direct buffer holds from its position to its limit. Without strides images have
 * no gaps, and the memory is just as large as they are.
 */
public final class Pixels {
  final ByteBuffer memory;
  final int format;
  private long rowStride;
  private long imageStride;

  /** @param memory a direct buffer, which stays the caller's */
  public Pixels(ByteBuffer memory, PixelFormat format) {
    if (!Native.given("memory", memory).isDirect())
      throw new IllegalArgumentException("memory: must be a direct buffer (ByteBuffer.allocateDirect)");
    // Native code sees where a buffer begins, not its position.
    this.memory = memory.slice();
    this.format = Native.given("format", format).value;
  }

  /** Bytes from the start of a row, or an image, to the start of the next; 0 for none between. */
  public Pixels strides(long row, long image) {
    if (row < 0 || image < 0) throw new IllegalArgumentException("strides: must not be below 0");
    rowStride = row;
    imageStride = image;
    return this;
  }

  /** Writes the first image to a PNG file, of bytes or of grey in 16 bits. */
  public void savePng(int width, int height, String path) {
    Native.savePng(this, Native.atLeastZero("width", width), Native.atLeastZero("height", height),
        Native.direct("path", Native.given("path", path)));
  }

  /** Checks pixels that the library will write. */
  static Pixels written(Pixels pixels) {
    if (Native.given("pixels", pixels).memory.isReadOnly())
      throw new IllegalArgumentException("memory: is read-only");
    return pixels;
  }
}
