package org.flowturbo;

/** In what numbers networks multiply (docs/precision.md). */
public enum Precision {
  F32(0),
  F16_WEIGHTS(1),
  BF16(2),
  INT8(3),
  F16(4),
  TF32(5),
  /** What flowturbo tune stored in the bundle, as far as this processor has it; else F32. */
  AUTO(6);

  final int value;

  Precision(int value) {
    this.value = value;
  }
}
