package org.flowturbo;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import javax.imageio.ImageIO;

/** Models, and what the program makes of them. */
final class Files {
  static final Path ROOT = Paths.get("").toAbsolutePath();
  static final String TEXTURES = at("models/textures.ftplan");
  static final String BUNDLE = at("models/textures");
  static final String PROMPTS = at("tests/data/prompts/bundle");
  static final String MATERIALS = at("tests/data/tiny-maps/bundle");
  static final String CONTEXTS = at("tests/data/contexts/pooled");

  private Files() {}

  private static String at(String path) {
    return ROOT.resolve(path).toString();
  }

  static Model open(String path) {
    return Model.open(path, new ModelOptions().threads(1).deterministic(true));
  }

  static String text(Path path) {
    try {
      return new String(java.nio.file.Files.readAllBytes(path), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static ByteBuffer mapped(String path) throws IOException {
    try (FileChannel file = FileChannel.open(Paths.get(path), StandardOpenOption.READ)) {
      return file.map(FileChannel.MapMode.READ_ONLY, 0, file.size());
    }
  }

  /** A PNG file's samples, as ImageIO reads them. */
  static int[] samples(File file) throws IOException {
    return ImageIO.read(file).getRaster().getPixels(0, 0, ImageIO.read(file).getWidth(), ImageIO.read(file).getHeight(),
        (int[]) null);
  }

  /** What the program writes for the same request. */
  static int[] ofTheProgram(String model, String... arguments) throws IOException, InterruptedException {
    Path folder = java.nio.file.Files.createTempDirectory("flowturbo");
    List<String> command = new ArrayList<>(List.of(System.getProperty("flowturbo.program"), "generate", "-q", "-m",
        model, "--deterministic", "-o", folder.resolve("x.png").toString()));
    Collections.addAll(command, arguments);
    Process process = new ProcessBuilder(command).inheritIO().start();
    if (process.waitFor() != 0) throw new IOException(command + ": " + process.exitValue());
    // Maps are named for what they are.
    File[] made = folder.toFile().listFiles();
    try {
      return samples(made[0]);
    } finally {
      for (File file : made) file.delete();
      folder.toFile().delete();
    }
  }
}
