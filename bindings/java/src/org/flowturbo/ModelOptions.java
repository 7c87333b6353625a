package org.flowturbo;

/** How a model is opened. */
public final class ModelOptions {
  private int threads;
  private int batch;
  private int releaseConditioning;
  private int deterministic;
  private int precision;
  private int device;
  private long cancel;

  /** Threads of the model's own, the calling one among them; 0, the default, for one per processor. */
  public ModelOptions threads(int count) {
    threads = Native.atLeastZero("threads", count);
    return this;
  }

  /** Images in a request that opening plans for. */
  public ModelOptions batch(int images) {
    batch = Native.atLeastZero("batch", images);
    return this;
  }

  /** Gives up the weights that only times and classes need; new ones read them again. */
  public ModelOptions releaseConditioning(boolean release) {
    releaseConditioning = release ? 1 : 0;
    return this;
  }

  /** The same request gives the same bits everywhere. */
  public ModelOptions deterministic(boolean always) {
    deterministic = always ? 1 : 0;
    return this;
  }

  public ModelOptions precision(Precision numbers) {
    precision = Native.given("numbers", numbers).value;
    return this;
  }

  public ModelOptions device(Device where) {
    device = Native.given("where", where).value;
    return this;
  }

  /** A GPU by its number, from 0 on. */
  public ModelOptions gpu(int number) {
    device = Device.CUDA.value + Native.atLeastZero("number", number);
    return this;
  }

  /** Stops the opening. */
  public ModelOptions cancel(CancelToken token) {
    cancel = token == null ? 0 : token.handle;
    return this;
  }
}
