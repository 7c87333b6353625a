package org.flowturbo;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * A bundle or a plan, opened. Any number of threads may use it, each with a session of its own; sessions go on working
 * when the model is closed.
 */
public final class Model implements AutoCloseable {
  private long handle;
  private final Object closing = new Object();
  private final String name;
  private final String description;
  private final String license;
  private final String schedule;
  private final String hash;
  private final List<String> presets;
  private final Set<MaterialMap> maps = EnumSet.noneOf(MaterialMap.class);
  private int width;
  private int height;
  private int latentChannels;
  private int latentHeight;
  private int latentWidth;
  private int classCount;
  private int networks;
  private long nullClass;
  private float guidance;
  private int threads;
  private int cellWidth;
  private int cellHeight;
  private int presetCount;
  private int tiles;
  private int contextWidth;
  private int contextTokens;
  private int device;

  private Model(long handle) {
    this.handle = handle;
    byte[][] texts = Native.modelInfo(handle, this);
    name = Native.text(texts[0]);
    description = Native.text(texts[1]);
    license = Native.text(texts[2]);
    schedule = Native.text(texts[3]);
    hash = Native.text(texts[4]);
    List<String> names = new ArrayList<>();
    for (int index = 0; index < presetCount; index++) names.add(Native.text(Native.modelPreset(handle, index)));
    presets = Collections.unmodifiableList(names);
    int made = Native.modelMaps(handle);
    for (MaterialMap map : MaterialMap.values()) if ((made & map.value) != 0) maps.add(map);
  }

  /** Opens a folder, an uncompressed zip file or a plan. */
  public static Model open(String path) {
    return open(path, new ModelOptions());
  }

  /** @param options null for the defaults */
  public static Model open(String path, ModelOptions options) {
    return new Model(Native.modelOpen(Native.direct("path", Native.given("path", path)), orDefaults(options)));
  }

  /**
   * Opens a zip file or a plan that is in memory: what a direct buffer holds from its position to its limit, such as a
   * mapped file. It is lent, and must stay as it is until the model and its sessions are closed.
   *
   * @param options null for the defaults
   */
  public static Model openMemory(ByteBuffer data, ModelOptions options) {
    if (!Native.given("data", data).isDirect())
      throw new IllegalArgumentException("data: must be a direct buffer (allocateDirect, map)");
    return new Model(Native.modelOpenMemory(data.slice(), orDefaults(options)));
  }

  private static ModelOptions orDefaults(ModelOptions options) {
    return options == null ? new ModelOptions() : options;
  }

  /** The version of the native library. */
  public static String libraryVersion() {
    return Native.text(Native.version());
  }

  public Session session() {
    synchronized (closing) {
      return new Session(this, Native.sessionNew(handle()));
    }
  }

  /** The class of a label, of one of its synonyms, or of a number as text. */
  public long findClass(String name) {
    return Native.modelFindClass(handle(), Native.direct("name", Native.given("name", name)));
  }

  /** The label of a class, 0 to {@link #classCount} - 1. */
  public String label(long number) {
    synchronized (closing) {
      return Native.text(Native.modelLabel(handle(), number));
    }
  }

  /** Plans what a request needs, and tells the memory it will take. */
  public Memory prepare(Request request) {
    return new Memory(Native.modelPrepare(handle(), Request.ready(request)));
  }

  /** Frees the model. */
  @Override
  public void close() {
    // Not while a text of the model's is read.
    synchronized (closing) {
      Native.modelFree(handle);
      handle = 0;
    }
  }

  private long handle() {
    synchronized (closing) {
      if (handle == 0) throw new IllegalStateException("the model is closed");
      return handle;
    }
  }

  /** Columns of an image; 0 without a decoder. */
  public int width() {
    return width;
  }

  /** Rows of an image; 0 without a decoder. */
  public int height() {
    return height;
  }

  public int latentChannels() {
    return latentChannels;
  }

  public int latentHeight() {
    return latentHeight;
  }

  public int latentWidth() {
    return latentWidth;
  }

  /** Pixels that one cell of the latent stands for, across; 0 without images. */
  public int cellWidth() {
    return cellWidth;
  }

  /** And down. */
  public int cellHeight() {
    return cellHeight;
  }

  public int classCount() {
    return classCount;
  }

  /** The class that stands for none; -1 if the model knows none. */
  public long nullClass() {
    return nullClass;
  }

  public boolean has(Network network) {
    return (networks & network.value) != 0;
  }

  /** The bundle's own scale of guidance. */
  public float guidance() {
    return guidance;
  }

  /** Threads that work on a request. */
  public int threads() {
    return threads;
  }

  /** Whether images can be asked to tile. */
  public boolean tiles() {
    return tiles != 0;
  }

  /** Floats of a context, or of each of its tokens; 0 if the model takes none. */
  public int contextWidth() {
    return contextWidth;
  }

  /** Tokens of a context; 0 if contexts are one row, or there are none. */
  public int contextTokens() {
    return contextTokens;
  }

  /** Where networks are computed: what was asked for, or what AUTO took. */
  public Device device() {
    return device == Device.CPU.value ? Device.CPU : Device.CUDA;
  }

  public String name() {
    return name;
  }

  /** One line for people, or null. */
  public String description() {
    return description;
  }

  /** SPDX expression for the weights, or null. */
  public String license() {
    return license;
  }

  /** The bundle's own schedule. */
  public String schedule() {
    return schedule;
  }

  /** SHA-256 of the bundle's manifest: 64 hex digits. */
  public String hash() {
    return hash;
  }

  /** Presets that a request may name. */
  public List<String> presets() {
    return presets;
  }

  /** Maps that {@link Session#map} gives. */
  public Set<MaterialMap> maps() {
    return Collections.unmodifiableSet(maps);
  }
}
