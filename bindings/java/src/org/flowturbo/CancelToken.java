package org.flowturbo;

/** Stops the generations, and the opening of models, that name it; from any thread. */
public final class CancelToken implements AutoCloseable {
  final long handle = Native.tokenNew();

  public void cancel() {
    Native.tokenCancel(handle);
  }

  /** Makes the token usable again. */
  public void reset() {
    Native.tokenReset(handle);
  }

  public boolean isCancelled() {
    return Native.tokenIsCancelled(handle);
  }

  /** Generations that hold it go on, and cannot be cancelled by it any more. */
  @Override
  public void close() {
    Native.tokenFree(handle);
  }
}
