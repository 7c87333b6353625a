package org.flowturbo;

/** A map of a material (docs/maps.md). Colours are sRGB, all others linear. */
public enum MaterialMap {
  COLOR(1),
  NORMAL(2),
  HEIGHT(4),
  ROUGHNESS(8),
  METALLIC(16),
  OCCLUSION(32),
  ORM(64),
  HDRP_MASK(128);

  final int value;

  MaterialMap(int value) {
    this.value = value;
  }
}
