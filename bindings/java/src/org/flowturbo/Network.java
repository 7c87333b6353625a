package org.flowturbo;

/** A network that a model may have besides its predictor. */
public enum Network {
  REFINER(1),
  DECODER(2),
  ENCODER(4),
  /** From prompts to contexts: a request may have them. */
  TEXT(8);

  final int value;

  Network(int value) {
    this.value = value;
  }
}
