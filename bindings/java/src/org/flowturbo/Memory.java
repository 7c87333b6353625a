package org.flowturbo;

/** Bytes that a request takes. */
public final class Memory {
  private final long[] bytes;

  Memory(long[] bytes) {
    this.bytes = bytes;
  }

  /** Held by the model, for all its sessions. */
  public long model() {
    return bytes[0];
  }

  /** Held by a session once it has run the request. */
  public long session() {
    return bytes[1];
  }

  /** Taken for a moment besides, when times, classes or contexts are new. */
  public long passing() {
    return bytes[2];
  }
}
