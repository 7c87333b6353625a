import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.zip.Adler32;
import org.flowturbo.Model;
import org.flowturbo.ModelOptions;
import org.flowturbo.PixelFormat;
import org.flowturbo.Pixels;
import org.flowturbo.Request;
import org.flowturbo.Session;

/** As calls.c, by the Java binding. */
public final class Calls {
  public static void main(String[] arguments) throws IOException {
    Model model = Model.open(arguments[0], new ModelOptions().threads(Integer.parseInt(arguments[2])));
    Session session = model.session();
    ByteBuffer rgb = ByteBuffer.allocateDirect(model.width() * model.height() * 3);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    while (lines.readLine() != null) {
      long begun = System.nanoTime();
      session.generate(new Request(0).seed(7).schedule(arguments[1]), new Pixels(rgb, PixelFormat.RGB8));
      long took = System.nanoTime() - begun;
      Adler32 sum = new Adler32();
      sum.update(rgb.duplicate());
      System.out.printf("%d.%09d %d%n", took / 1_000_000_000, took % 1_000_000_000, sum.getValue());
      System.out.flush();
    }
  }
}
