package org.flowturbo;

import java.nio.ByteBuffer;

/** Images as RGBA, one behind the other, from top to bottom. */
public final class Images {
  private final int count;
  private final int width;
  private final int height;
  private final ByteBuffer rgba;

  Images(int count, int width, int height) {
    this.count = count;
    this.width = width;
    this.height = height;
    rgba = Native.room(4, count, width, height);
  }

  public int count() {
    return count;
  }

  public int width() {
    return width;
  }

  public int height() {
    return height;
  }

  /** One image, to be read: for {@code Bitmap.copyPixelsFromBuffer} of an ARGB_8888 bitmap, or a texture. */
  public ByteBuffer rgba(int index) {
    if (index < 0 || index >= count) throw new IllegalArgumentException("index: " + index + " of " + count + " images");
    int bytes = 4 * width * height;
    ByteBuffer one = rgba.duplicate();
    one.position(index * bytes);
    one.limit((index + 1) * bytes);
    return one.slice();
  }

  /** Writes the first image to a PNG file. */
  public void savePng(String path) {
    savePng(0, path);
  }

  public void savePng(int index, String path) {
    new Pixels(rgba(index), PixelFormat.RGBA8).savePng(width, height, path);
  }

  Pixels pixels() {
    return new Pixels(rgba, PixelFormat.RGBA8);
  }
}
