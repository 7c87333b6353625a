// The tests' runner: each public static method of the classes named `...Tests` is a test, and its name says what holds.

using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Reflection;

static class Check
{
    internal static string Root;

    internal static string At(params string[] path)
    {
        return Path.Combine(new[] { Root }.Concat(path).ToArray());
    }

    internal static void That(bool holds, string what)
    {
        if (!holds) throw new Exception("does not hold: " + what);
    }

    internal static void Same<T>(T found, T expected, string what)
    {
        if (!Equals(found, expected)) throw new Exception(what + ": " + found + ", expected " + expected);
    }

    internal static void SameBytes(byte[] found, byte[] expected, string what)
    {
        That(expected.Distinct().Count() > 1, what + " is not blank");
        That(found.SequenceEqual(expected), what);
    }

    internal static E Throws<E>(Action work, params string[] words) where E : Exception
    {
        try { work(); }
        catch (E e)
        {
            // The runtime's own may have more.
            That(e is ObjectDisposedException || e is ArgumentNullException || !e.Message.Contains("\n"),
                "one line: " + e.Message);
            foreach (var word in words) That(e.Message.Contains(word), "'" + word + "' in: " + e.Message);
            return e;
        }
        throw new Exception("nothing was thrown, expected " + typeof(E).Name);
    }

    /// Bytes of memory that the process holds.
    internal static long Resident()
    {
        return 4096 * long.Parse(File.ReadAllText("/proc/self/statm").Split(' ')[1]);
    }

    static int Main(string[] arguments)
    {
        Root = arguments[0];
        var wanted = arguments.Length > 1 ? arguments[1] : "";
        var types = Assembly.GetExecutingAssembly().GetTypes().Where(type => type.Name.EndsWith("Tests"));
        var tests = types.SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Static))
            .Where(test => test.Name.Contains(wanted)).ToArray();
        int failed = 0;
        foreach (var test in tests)
        {
            var clock = Stopwatch.StartNew();
            Exception why = null;
            try { test.Invoke(null, null); }
            catch (TargetInvocationException e) { why = e.InnerException; }
            var end = why == null ? "ok    " : "FAILED";
            Console.WriteLine("{0,6} ms  {1}  {2}", clock.ElapsedMilliseconds, end, test.Name);
            if (why != null) Console.WriteLine(why);
            if (why != null) failed++;
        }
        Console.WriteLine("{0} tests, {1} failed", tests.Length, failed);
        return tests.Length == 0 || failed > 0 ? 1 : 0;
    }
}
