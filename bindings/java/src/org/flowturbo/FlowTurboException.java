package org.flowturbo;

/** What the library had to say of a call that failed: one line that names what to mend. */
public final class FlowTurboException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final int status;

  FlowTurboException(int status, byte[] message) {
    super(Native.text(message));
    this.status = status;
  }

  /** One of {@link Status}; a newer library may have others. */
  public int status() {
    return status;
  }
}
