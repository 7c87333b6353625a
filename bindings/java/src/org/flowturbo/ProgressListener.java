package org.flowturbo;

/** Hears of a generation. */
@FunctionalInterface
public interface ProgressListener {
  /**
   * Called after each step and each decoded image, on the thread that generates. What it throws stops the generation,
   * and comes out of the call that ran it.
   */
  void progressed(Progress progress);
}
