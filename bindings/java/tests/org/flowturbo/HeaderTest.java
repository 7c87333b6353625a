package org.flowturbo;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.Test;

/** The binding's numbers and functions are those of flowturbo.h. Its structs are C's own. */
public class HeaderTest {
  private final String header = Files.text(Files.ROOT.resolve("include/flowturbo.h"));

  private Map<String, Integer> numbers(String prefix) {
    Map<String, Integer> found = new TreeMap<>();
    Matcher number = Pattern.compile("#define FT_" + prefix + "([A-Z0-9_]+) ([0-9]+)\n").matcher(header);
    while (number.find()) found.put(number.group(1), Integer.valueOf(number.group(2)));
    assertTrue(prefix, found.size() > 1);
    return found;
  }

  private static <E extends Enum<E>> Map<String, Integer> mine(Class<E> type) throws ReflectiveOperationException {
    Field value = type.getDeclaredField("value");
    Map<String, Integer> found = new TreeMap<>();
    for (E constant : type.getEnumConstants()) found.put(constant.name(), value.getInt(constant));
    return found;
  }

  @Test
  public void numbersAreTheHeaders() throws ReflectiveOperationException {
    assertEquals(numbers("PIXEL_"), mine(PixelFormat.class));
    assertEquals(numbers("TILE_"), mine(Tile.class));
    assertEquals(numbers("PREVIEW_"), mine(Preview.class));
    assertEquals(numbers("PRECISION_"), mine(Precision.class));
    assertEquals(numbers("DEVICE_"), mine(Device.class));
    assertEquals(numbers("NETWORK_"), mine(Network.class));
    Map<String, Integer> maps = numbers("MAP_");
    assertEquals(Integer.valueOf(1), maps.remove("NORMAL_Y_DOWN"));
    assertEquals(maps, mine(MaterialMap.class));
    assertEquals(Integer.valueOf(1), numbers("OUTPUT_").get("LATENTS"));

    Map<String, Integer> statuses = new TreeMap<>();
    for (Field status : Status.class.getFields()) statuses.put(status.getName(), status.getInt(null));
    assertEquals(Integer.valueOf(Status.OK), statuses.remove("OK"));
    assertEquals(numbers("ERROR_"), statuses);
    assertTrue(header.contains("#define FT_WHOLE_STEP " + Long.toUnsignedString(Session.WHOLE_STEP) + "ull"));
  }

  @Test
  public void everyFieldOfTheHeaderIsPassedOnOrListed() {
    String code = Files.text(Files.ROOT.resolve("bindings/java/native/flowturbo_jni.c"));
    // struct_size is the init function's; lists are threads that a program lends, options by name, limits, latents.
    Map<String, String> others = new TreeMap<>();
    others.put("ft_pixels", "struct_size");
    others.put("ft_request", "struct_size reserved reserved_end progress_data");
    others.put("ft_progress", "struct_size latents latent_count");
    others.put("ft_model_info", "reserved_end reserved");
    others.put("ft_model_options", "struct_size lanes parallel_for parallel_data options option_count limits");
    others.put("ft_memory", "reserved");
    Map<String, String> spelled = new TreeMap<>();
    spelled.put("ft_request", "REQUEST\\(%1$s\\)|raw->%1$s = ");
    spelled.put("ft_pixels", "offsetof\\(ft_pixels, %1$s\\)");
    spelled.put("ft_progress", "progress->%1$s\\b");
    spelled.put("ft_model_info", "info\\.%1$s\\b|info = \\{\\.%1$s = ");
    spelled.put("ft_model_options", "raw->%1$s = ");
    spelled.put("ft_memory", "memory\\.%1$s\\b|memory = \\{\\.%1$s = ");
    int fields = 0;
    for (String line : Files.text(Files.ROOT.resolve("tests/c/layout.txt")).split("\n")) {
      Matcher field = Pattern.compile("(\\w+)\\.(\\w+) .*").matcher(line);
      if (!field.matches() || !others.containsKey(field.group(1))) continue;
      String table = "FIELD\\(" + field.group(1) + ", \"\\w+\", \"\\w\", " + field.group(2) + "\\)|";
      String pattern = table + String.format(spelled.get(field.group(1)), field.group(2));
      boolean listed = Arrays.asList(others.get(field.group(1)).split(" ")).contains(field.group(2));
      assertEquals(line, !listed, Pattern.compile(pattern).matcher(code).find());
      fields++;
    }
    assertTrue(fields > 90);
  }

  @Test
  public void everyFunctionOfTheHeaderIsCalledOrListed() {
    TreeSet<String> declared = new TreeSet<>();
    Matcher function = Pattern.compile("(?m)^[a-z].*?\\b(ft_[a-z_]+)\\(").matcher(header);
    while (function.find()) declared.add(function.group(1));
    TreeSet<String> called = new TreeSet<>();
    Matcher call = Pattern.compile("\\b(ft_[a-z_]+)\\(")
        .matcher(Files.text(Files.ROOT.resolve("bindings/java/native/flowturbo_jni.c")));
    while (call.find()) called.add(call.group(1));
    // What Java has other means for, or nobody has asked for yet.
    String others = "ft_device_count ft_device_get_info ft_limits_init ft_log_set ft_model_open_reader ft_reader_init"
        + " ft_session_decode ft_status_name ft_version";
    for (String name : others.split(" ")) assertTrue(name, called.add(name));
    assertEquals(declared, called);
  }
}
