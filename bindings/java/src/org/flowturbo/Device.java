package org.flowturbo;

/** Where networks are computed (docs/cuda.md). */
public enum Device {
  CPU(0),
  AUTO(1),
  CUDA(4096);

  final int value;

  Device(int value) {
    this.value = value;
  }
}
