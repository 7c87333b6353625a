package org.flowturbo;

/** What a pixel is made of. Colours are sRGB, other maps linear; rows run from top to bottom. */
public enum PixelFormat {
  RGB8(1),
  /** As Android's {@code Bitmap.Config.ARGB_8888} has it in memory. */
  RGBA8(2),
  BGRA8(3),
  RGB_F16(4),
  RGB_F32(5),
  GREY8(6),
  GREY16(7),
  GREY_F32(8);

  final int value;

  PixelFormat(int value) {
    this.value = value;
  }
}
