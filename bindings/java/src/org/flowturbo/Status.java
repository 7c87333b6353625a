package org.flowturbo;

/** How a call ended. */
public final class Status {
  public static final int OK = 0;
  public static final int INVALID_ARGUMENT = 1;
  public static final int INVALID_BUNDLE = 2;
  public static final int UNSUPPORTED = 3;
  public static final int LIMIT_EXCEEDED = 4;
  public static final int IO = 5;
  public static final int NON_FINITE = 6;
  public static final int CANCELLED = 7;
  public static final int RUNTIME = 8;
  public static final int PANIC = 9;
  public static final int BUSY = 10;
  public static final int INVALID_HANDLE = 11;
  public static final int OUT_OF_MEMORY = 12;

  private Status() {}
}
