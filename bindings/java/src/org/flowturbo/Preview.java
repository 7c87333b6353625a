package org.flowturbo;

/** How a preview is made. */
public enum Preview {
  NONE(0),
  /** Rough, of the latent's own size, in microseconds. */
  LINEAR(1),
  /** By the decoder, of an image's size. */
  DECODED(2);

  final int value;

  Preview(int value) {
    this.value = value;
  }
}
