// As calls.c, by the C# binding.

using System;
using System.Diagnostics;
using System.Globalization;
using FlowTurbo;

static class Calls
{
    static uint Adler32(byte[] bytes)
    {
        uint low = 1, high = 0;
        foreach (var value in bytes)
        {
            low = (low + value) % 65521;
            high = (high + low) % 65521;
        }
        return high << 16 | low;
    }

    static void Main(string[] arguments)
    {
        var model = Model.Open(arguments[0], new ModelOptions { Threads = int.Parse(arguments[2]) });
        var session = model.NewSession();
        var rgb = new byte[model.Width * model.Height * 3];
        while (Console.ReadLine() != null)
        {
            var begun = Stopwatch.GetTimestamp();
            session.Generate(new Request(0) { Seed = 7, Schedule = arguments[1] }, new Pixels(rgb, PixelFormat.Rgb8));
            var took = (Stopwatch.GetTimestamp() - begun) / (double)Stopwatch.Frequency;
            Console.WriteLine(took.ToString("F9", CultureInfo.InvariantCulture) + " " + Adler32(rgb));
            Console.Out.Flush();
        }
    }
}
