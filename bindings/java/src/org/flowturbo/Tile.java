package org.flowturbo;

/** Axes along which an image continues seamlessly on its other side. */
public enum Tile {
  NONE(0),
  X(1),
  Y(2),
  BOTH(3);

  final int value;

  Tile(int value) {
    this.value = value;
  }
}
