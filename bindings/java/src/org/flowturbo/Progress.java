package org.flowturbo;

/** What a generation reports after each step of its schedule, and after each decoded image. */
public final class Progress {
  private int step;
  private int steps;
  private int kind;
  private long microseconds;
  private int decoded;
  private int images;
  private byte[] preview;
  private int previewWidth;
  private int previewHeight;

  Progress() {}

  /** Steps done, from 1. */
  public int step() {
    return step;
  }

  /** Steps in all. */
  public int steps() {
    return steps;
  }

  /** The step just done, as its letter in the schedule. */
  public char kind() {
    return (char) kind;
  }

  /** The time that the step took, or the image. */
  public long microseconds() {
    return microseconds;
  }

  /** Images decoded; 0 as long as there are steps left. */
  public int decoded() {
    return decoded;
  }

  /** Images that will be decoded. */
  public int images() {
    return images;
  }

  /** With {@link Request#preview}: what the images look like so far, in RGB; else null. */
  public byte[] preview() {
    return preview;
  }

  public int previewWidth() {
    return previewWidth;
  }

  public int previewHeight() {
    return previewHeight;
  }
}
