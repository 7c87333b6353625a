// Models and sessions against the shared library, and their images against the program's.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using FlowTurbo;

static class SessionTests
{
    const string Short = "H1P2R1";
    internal static readonly string textures = Check.At("models", "textures.ftplan");
    static readonly string bundle = Check.At("models", "textures");
    static readonly string prompts = Check.At("tests", "data", "prompts", "bundle");
    internal static readonly string materials = Check.At("tests", "data", "tiny-maps", "bundle");
    static readonly string contexts = Check.At("tests", "data", "contexts", "pooled");
    internal static readonly Model model = Open(textures);
    internal static readonly Session session = model.NewSession();

    internal static Model Open(string path)
    {
        return Model.Open(path, new ModelOptions { Threads = 1, Deterministic = true });
    }

    internal static Request Grass(ulong seed = 7) { return new Request(4) { Seed = seed, Schedule = Short }; }

    /// The compressed pixels of a PNG file; the program and the library compress alike.
    static byte[] Compressed(byte[] png)
    {
        var data = new List<byte>();
        for (int at = 8; at < png.Length;)
        {
            int length = png[at] << 24 | png[at + 1] << 16 | png[at + 2] << 8 | png[at + 3];
            if (png[at + 4] == 'I' && png[at + 5] == 'D') data.AddRange(png.Skip(at + 8).Take(length));
            at += length + 12;
        }
        return data.ToArray();
    }

    static byte[] Drawn(Pixels pixels, int width, int height)
    {
        var path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName() + ".png");
        try
        {
            pixels.SavePng(width, height, path);
            return Compressed(File.ReadAllBytes(path));
        }
        finally { File.Delete(path); }
    }

    /// What the program makes of the same request.
    static byte[] OfTheProgram(string bundle, params string[] arguments)
    {
        var program = Environment.GetEnvironmentVariable("FLOWTURBO_PROGRAM");
        var folder = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), Path.GetRandomFileName())).FullName;
        try
        {
            var all = new[] { "generate", "-q", "-m", bundle, "--deterministic", "-o", Path.Combine(folder, "x.png") };
            var quoted = all.Concat(arguments).Select(word => "\"" + word + "\"");
            var start = new ProcessStartInfo(program, string.Join(" ", quoted)) { UseShellExecute = false };
            using (var process = Process.Start(start))
            {
                process.WaitForExit();
                Check.Same(process.ExitCode, 0, program);
            }
            // Maps are named for what they are.
            return Compressed(File.ReadAllBytes(Directory.GetFiles(folder).Single()));
        }
        finally { Directory.Delete(folder, true); }
    }

    public static void ImagesAreTheProgramsToTheByte()
    {
        var grass = session.Generate(new Request(model.FindClass("grass")) { Seed = 7 });
        Check.SameBytes(Drawn(grass.Pixels, 128, 128), OfTheProgram(textures, "--class", "grass", "--seed", "7"),
            "grass");
        using (var other = Open(bundle))
        using (var any = other.NewSession())
        {
            var large = any.Generate(new Request(0) { Tile = Tile.Both, Width = 256, Schedule = Short, Guidance = 2 });
            Check.Same(large.Width + " x " + large.Height, "256 x 128", "size");
            Check.SameBytes(Drawn(large.Pixels, 256, 128), OfTheProgram(bundle, "--class", "brick", "--seamless",
                "both", "--size", "256x128", "--schedule", Short, "--guidance", "2"), "large and tiled");
            Check.Same(any.GetLatents().Length, 8 * 16 * 32, "latents");
            var wide = new Pixels(new byte[large.Rgba.Length], PixelFormat.Rgba8);
            any.Decode(any.GetLatents(), wide, 256, 128);
            Check.SameBytes(Drawn(wide, 256, 128), Drawn(large.Pixels, 256, 128), "decoded");
            Check.Same(any.Encode(wide, 1, 256, 128).Length, 8 * 16 * 32, "encoded");
        }
        using (var other = Open(prompts))
        using (var prompted = other.NewSession())
        {
            var moss = prompted.Generate(new Request { Prompts = new[] { "木の床" }, NegativePrompt = "rust" });
            Check.SameBytes(Drawn(moss.Pixels, 16, 16),
                OfTheProgram(prompts, "--prompt", "木の床", "--negative-prompt", "rust"), "of a prompt");
        }
        using (var other = Open(materials))
        using (var material = other.NewSession())
        {
            material.Generate(new Request(1));
            var heights = new Pixels(new ushort[16 * 16], PixelFormat.Grey16);
            material.GetMap(Maps.Height, heights);
            Check.SameBytes(Drawn(heights, 16, 16), OfTheProgram(materials, "--class", "1", "--maps", "height"),
                "heights");
        }
    }

    public static void AModelSaysWhatItIs()
    {
        Check.That(Model.LibraryVersion.StartsWith("0."), Model.LibraryVersion);
        Check.Same(model.Width + " " + model.Height + " " + model.LatentChannels + " " + model.LatentHeight + " "
            + model.LatentWidth + " " + model.CellWidth + " " + model.Schedule, "128 128 8 16 16 8 H1P6R5", "model");
        Check.That(model.Label(0) == "brick" && model.FindClass("Brick") == 0 && model.FindClass("3") == 3, "classes");
        Check.That(model.ClassCount == model.NullClass && model.Threads == 1 && model.Tiles, "numbers");
        Check.That(model.Hash.Length == 64 && model.Name == "textures" && model.Presets.Contains("fast"), "texts");
        Check.Same(model.Networks, Networks.Refiner | Networks.Decoder | Networks.Encoder, "networks");
        Check.Same(model.Maps, Maps.Color, "maps");
        using (var other = Open(contexts))
            Check.Same(other.ContextWidth + " " + other.ContextTokens, "12 0", "contexts");
        var few = model.Prepare(Grass());
        var many = model.Prepare(new Request(0, 1, 2, 3) { Schedule = Short });
        Check.That(few.Model > 1 << 20 && many.Session > few.Session, "memory");
    }

    public static void PixelsGoToTheCallersMemoryInEachFormat()
    {
        var request = new Request(0, 4) { Schedule = "E1" };
        var rgba = session.Generate(request).Rgba;
        Check.That(rgba.Where((value, at) => at % 4 == 3).All(value => value == 255), "alpha");
        var rgb = new byte[2 * 128 * 128 * 3];
        session.Finish(new Pixels(rgb, PixelFormat.Rgb8));
        Check.SameBytes(rgb, rgba.Where((value, at) => at % 4 != 3).ToArray(), "RGB");
        var floats = new float[rgb.Length];
        session.Finish(new Pixels(floats, PixelFormat.RgbF32));
        Check.That(floats.Zip(rgb, (value, whole) => Math.Abs(value * 255 - whole)).Max() < 0.501, "floats");

        // An address, with gaps that stay as they were.
        int stride = 128 * 3 + 5, image = 128 * stride + 7, bytes = 2 * image;
        var memory = Marshal.AllocHGlobal(bytes);
        var found = Enumerable.Repeat((byte)1, bytes).ToArray();
        Marshal.Copy(found, 0, memory, bytes);
        var pixels = new Pixels(memory, bytes, PixelFormat.Rgb8) { RowStride = stride, ImageStride = image };
        session.Generate(request, pixels);
        Marshal.Copy(memory, found, 0, bytes);
        Marshal.FreeHGlobal(memory);
        for (int at = 0; at < bytes; at++)
        {
            int row = at % image / stride, column = at % image % stride;
            bool gap = row >= 128 || column >= 384;
            Check.Same(found[at], gap ? (byte)1 : rgb[(at / image * 128 + row) * 384 + column], "byte " + at);
        }
        Check.Throws<FlowTurboException>(() => session.Finish(new Pixels(new byte[9], PixelFormat.Rgb8)), "9 bytes");
        Check.Throws<FlowTurboException>(() => session.Finish(default(Pixels)));
    }

    public static void EditsArePassedOn()
    {
        var plain = session.Generate(Grass());
        var others = new Dictionary<string, Action<Request>>
        {
            { "begin", request => { request.Init = plain.Pixels; request.Strength = 0.5f; } },
            { "vary", request => { request.Variation = 0.5f; request.VariationSeed = 9; } },
            { "morph", request => { request.MorphClasses = new long[] { 1 }; request.MorphAmounts = new[] { 0.5f }; } },
            { "seeds", request => request.Seeds = new ulong[] { 8 } },
            { "streams", request => request.Streams = new ulong[] { 3 } },
            { "noise", request => request.Noise = Enumerable.Range(0, 2048).Select(n => n % 7 / 3f - 1).ToArray() },
            { "guidance", request => request.Guidance = 1 },
            { "preset", request => { request.Schedule = null; request.Preset = "fast"; } },
            { "tile", request => request.Tile = Tile.X },
        };
        foreach (var other in others)
        {
            var request = Grass();
            other.Value(request);
            Check.That(!session.Generate(request).Rgba.SequenceEqual(plain.Rgba), other.Key + " changes the image");
        }
        var seeded = new Request(4) { Seeds = new ulong[] { 7 }, Schedule = Short };
        Check.SameBytes(session.Generate(seeded).Rgba, plain.Rgba, "a seed for each");

        // The upper half is made anew, the lower one kept.
        var mask = Enumerable.Range(0, 128 * 128).Select(at => (byte)(at < 64 * 128 ? 255 : 0)).ToArray();
        var half = session.Generate(new Request(9) { Init = plain.Pixels, Mask = mask, Schedule = Short }).Rgba;
        int middle = half.Length / 2;
        Check.SameBytes(half.Skip(middle).ToArray(), plain.Rgba.Skip(middle).ToArray(), "what the mask keeps");
        Check.That(!half.Take(middle).SequenceEqual(plain.Rgba.Take(middle)), "what it does not");
    }

    public static void PromptsAndContextsArePassedOnOrRefused()
    {
        Check.Throws<FlowTurboException>(() => session.Generate(new Request { Prompts = new[] { "moss" } }),
            "prompt: this bundle has no text encoder");
        Check.Throws<FlowTurboException>(() => session.Generate(new Request(0) { Context = new float[12] }), "context");
        using (var other = Open(prompts))
        using (var prompted = other.NewSession())
        {
            var two = new Request { Prompts = new[] { "moss", "rust" } };
            Check.Same(two.Count, 2, "images of two prompts");
            var both = prompted.Generate(two).Rgba;
            Check.That(!both.Take(1024).SequenceEqual(both.Skip(1024)), "each prompt its image");
            Check.Throws<ArgumentException>(
                () => prompted.Generate(new Request { Prompts = new[] { "a\0b" } }), "Prompts: has a NUL");
            Check.Throws<ArgumentException>(
                () => prompted.Generate(new Request { NegativePrompt = "a\ud83c" }), "NegativePrompt: has half");
            Check.Throws<FlowTurboException>(
                () => prompted.Generate(new Request { Prompts = new[] { "moss", null } }), "prompts");
        }
        using (var other = Open(contexts))
        using (var free = other.NewSession())
        {
            var request = new Request(0, 0) { LatentsOnly = true };
            free.Generate(request, null);
            var plain = free.GetLatents();
            request.Context = new float[12];
            free.Generate(request, null);
            Check.That(free.GetLatents().SequenceEqual(plain), "the context of no prompt");
            request.Context = Enumerable.Range(0, 24).Select(at => at * 0.1f).ToArray();
            request.ContextRows = 2;
            free.Generate(request, null);
            Check.That(!free.GetLatents().SequenceEqual(plain), "contexts");
        }
    }

    public static void LatentsGoOutAndBackIn()
    {
        var image = session.Generate(Grass());
        var latents = session.GetLatents();
        Check.Same(latents.Length, 8 * 16 * 16, "latents");
        var decoded = new byte[image.Rgba.Length];
        session.Decode(latents, new Pixels(decoded, PixelFormat.Rgba8));
        Check.SameBytes(decoded, image.Rgba, "decoded");
        session.Decode(session.Encode(image.Pixels), new Pixels(decoded, PixelFormat.Rgba8));
        Check.That(decoded.Zip(image.Rgba, (a, b) => Math.Abs(a - b)).Average() < 16, "encoded and decoded again");
    }

    public static void MapsComeAsTheModelMakesThem()
    {
        using (var other = Open(materials))
        using (var material = other.NewSession())
        {
            Check.Same(other.Maps,
                Maps.Color | Maps.Normal | Maps.Height | Maps.Roughness | Maps.Orm | Maps.HdrpMask, "maps");
            material.Generate(new Request(0));
            byte[] up = new byte[16 * 16 * 3], down = new byte[up.Length];
            material.GetMap(Maps.Normal, new Pixels(up, PixelFormat.Rgb8));
            material.GetMap(Maps.Normal, new Pixels(down, PixelFormat.Rgb8), true);
            Check.That(up.Where((value, at) => at % 3 == 1 && Math.Abs(value + down[at] - 255) > 1).Count() == 0, "y");
            Check.That(!up.SequenceEqual(down), "down is another");
            Check.Throws<FlowTurboException>(
                () => material.GetMap(Maps.Metallic, new Pixels(new byte[256], PixelFormat.Grey8)), "it has color");
        }
    }

    public static void AGenerationInPiecesIsTheWholeOne()
    {
        var whole = session.Generate(Grass());
        var request = Grass();
        var told = new List<string>();
        request.Progress = step => told.Add(step.Kind + (step.Decoded > 0 ? "!" : ""));
        session.Begin(request);
        // The request was only looked at.
        request.Classes[0] = 0;
        request.Width = 1 << 20;
        request.Progress = null;
        int pieces = 1, made, all;
        while (!session.Step(1000))
        {
            pieces++;
            session.GetSteps(out made, out all);
            Check.That(made <= 4 && all == 4, "steps");
            if (pieces != 10) continue;
            var seen = new byte[16 * 16 * 3];
            session.DrawPreview(Preview.Linear, new Pixels(seen, PixelFormat.Rgb8));
            Check.That(seen.Distinct().Count() > 10, "a preview");
        }
        Check.That(pieces > 10, "pieces");
        Check.SameBytes(session.Finish().Rgba, whole.Rgba, "in pieces");
        Check.Same(string.Join("", told), "HPPRR!", "progress");
        session.Reset();
        Check.Throws<FlowTurboException>(() => session.Finish());
        Check.Throws<FlowTurboException>(() => session.Step());
    }

    sealed class Stop : Exception { }

    public static void ProgressIsToldAndItsExceptionComesOut()
    {
        var told = new List<Progress>();
        var request = Grass();
        request.Progress = told.Add;
        request.Preview = true;
        session.Generate(request);
        Check.Same(string.Join(" ", told.Select(step => step.Step + "/" + step.Steps + step.Kind + step.Decoded + "/"
            + step.Images)), "1/4H0/1 2/4P0/1 3/4P0/1 4/4R0/1 4/4R1/1", "progress");
        Check.Same(told[0].Preview.Length, 16 * 16 * 3, "preview");
        Check.That(told[0].PreviewWidth == 16 && told[0].Microseconds > 0, "numbers");
        request.Progress = step => { if (step.Step == 2) throw new Stop(); };
        Check.Throws<Stop>(() => session.Generate(request));
        Check.Throws<Stop>(() => { session.Begin(request); while (!session.Step()) { } });
        FlowTurboException busy = null;
        request.Progress = step => busy = Check.Throws<FlowTurboException>(() => session.Reset());
        session.Generate(request);
        Check.Same(busy.Status, Status.Busy, "a call from inside");
        // Another session may be used from inside, and hears of its own.
        int inner = 0;
        using (var other = model.NewSession())
        {
            request.Progress = step =>
            {
                if (step.Step != 1) return;
                var nested = Grass();
                nested.Progress = own => inner++;
                other.Generate(nested);
            };
            told.Clear();
            request.Progress += told.Add;
            session.Generate(request);
        }
        Check.Same(inner + " " + told.Count, "5 5", "progress of one within another");
    }

    public static void CancellingStops()
    {
        using (var token = new CancelToken())
        {
            var request = Grass();
            request.Cancel = token;
            request.Progress = step => token.Cancel();
            var memory = new byte[128 * 128 * 3];
            var why = Check.Throws<FlowTurboException>(
                () => session.Generate(request, new Pixels(memory, PixelFormat.Rgb8)));
            Check.That(why.Status == Status.Cancelled && token.IsCancelled, "cancelled");
            Check.That(memory.All(value => value == 0), "nothing is written");
            token.Reset();
            Check.That(!token.IsCancelled, "reset");
            token.Cancel();
            why = Check.Throws<FlowTurboException>(() => Model.Open(textures, new ModelOptions { Cancel = token }));
            Check.Same(why.Status, Status.Cancelled, "opening");
        }
        Check.That(session.Generate(Grass()).Rgba != null, "the next one works");
    }

    sealed class Told : IProgress<Progress>
    {
        internal Action<Progress> Act;
        public void Report(Progress progress) { Act(progress); }
    }

    public static void TasksGenerateReportAndAreCancelled()
    {
        var caller = Thread.CurrentThread.ManagedThreadId;
        int told = 0, elsewhere = 0;
        var progress = new Told();
        progress.Act = step =>
        {
            told++;
            if (Thread.CurrentThread.ManagedThreadId != caller) elsewhere++;
        };
        var made = session.GenerateAsync(Grass(), progress).Result;
        Check.SameBytes(made.Rgba, session.Generate(Grass()).Rgba, "a task's image");
        Check.Same(told + " " + elsewhere, "5 5", "progress");

        using (var source = new CancellationTokenSource())
        {
            progress.Act = step => source.Cancel();
            var task = session.GenerateAsync(Grass(), progress, source.Token);
            var why = Check.Throws<AggregateException>(() => task.Wait()).InnerException;
            Check.That(why is OperationCanceledException && task.IsCanceled, why.ToString());
            task = session.GenerateAsync(Grass(), null, source.Token);
            Check.Throws<AggregateException>(() => task.Wait());
            Check.That(task.IsCanceled, "before it began");
        }
        var refused = session.GenerateAsync(new Request(99));
        var refusal = Check.Throws<AggregateException>(() => refused.Wait()).InnerException;
        Check.That(refusal is FlowTurboException, "refused");
    }

    public static void WhatIsRefusedIsOneLineWithItsStatus()
    {
        var why = Check.Throws<FlowTurboException>(
            () => session.Generate(new Request(0) { Schedule = "H1Q2" }), "'Q' is no step");
        Check.Same(why.Status, Status.InvalidArgument, "status");
        Check.Throws<FlowTurboException>(() => session.Generate(new Request(99)), "class 99");
        Check.Throws<FlowTurboException>(() => session.Generate(new Request()), "classes");
        Check.Throws<FlowTurboException>(() => model.FindClass("gras"), "grass");
        Check.Throws<FlowTurboException>(() => model.Label(99));
        why = Check.Throws<FlowTurboException>(
            () => session.Generate(new Request(0) { Width = 1 << 30, Height = 1 << 30 }));
        Check.That(why.Status == Status.LimitExceeded || why.Status == Status.InvalidArgument, why.Message);
        why = Check.Throws<FlowTurboException>(() => Model.Open(Check.At("nothing")), "nothing");
        Check.Same(why.Status, Status.Io, "status");
        Check.Throws<ArgumentException>(() => session.Generate(new Request(0) { Width = -8 }), "Width: -8");
        var image = new Pixels(new byte[9], PixelFormat.Rgb8);
        Check.Throws<ArgumentException>(() => session.Encode(image, 1, -8, 8), "width: -8");
        Check.Throws<ArgumentException>(() => session.Encode(image, -1), "Count: -1");
        Check.Throws<FlowTurboException>(() => session.Encode(image, 0));
        Check.Throws<ArgumentException>(() => session.Encode(image, int.MaxValue), "count 2147483647");
        Check.Throws<ArgumentException>(() => session.Encode(image, 1, int.MaxValue, int.MaxValue), "width 2147483647");
        Check.Throws<ArgumentException>(() => new Request(0) { Count = -1 }, "Count: -1");
        Check.Throws<ArgumentException>(
            () => session.Generate(new Request(0) { Count = 2 }), "Classes: 1 for 2 images");
        Check.Throws<ArgumentException>(
            () => session.Generate(new Request(0, 1) { MorphClasses = new long[2], MorphAmounts = new float[1] }),
            "MorphAmounts: 1 for 2 images");
        Check.Throws<ArgumentException>(() => Model.Open("a\0b"), "path: has a NUL");
        var gone = model.NewSession();
        gone.Dispose();
        gone.Dispose();
        Check.Throws<ObjectDisposedException>(() => gone.Generate(Grass()));
        Check.That(session.Generate(Grass()).Count == 1, "the next one works");
    }

    public static void ARequestThatIsNullIsRefusedByName()
    {
        var pixels = new Pixels(new byte[9], PixelFormat.Rgb8);
        var calls = new Action[]
        {
            () => model.Prepare(null), () => session.Prepare(null), () => session.Generate(null),
            () => session.Generate(null, pixels), () => session.Begin(null),
            () => session.GenerateAsync(null).GetAwaiter().GetResult(),
        };
        foreach (var call in calls) Check.Same(Check.Throws<ArgumentNullException>(call).ParamName, "request", "name");
    }

    public static void ASecondThreadIsToldThatASessionIsBusy()
    {
        var inside = new ManualResetEvent(false);
        var request = Grass();
        int told = 0;
        request.Progress = step =>
        {
            told++;
            inside.Set();
            if (told == 1) Thread.Sleep(50);
        };
        var task = session.GenerateAsync(request);
        inside.WaitOne();
        var others = Grass(1);
        others.Progress = step => told = -100;
        Check.Same(Check.Throws<FlowTurboException>(() => session.Begin(others)).Status, Status.Busy, "status");
        Check.SameBytes(task.Result.Rgba, session.Generate(Grass()).Rgba, "undisturbed");
        Check.Same(told, 5, "progress to its own");
    }

    public static void ThreadsThatShareASessionGetTheirOwnImagesOrBusy()
    {
        // Of a model that takes microseconds, so that they meet anywhere.
        using (var tiny = Open(materials))
        using (var shared = tiny.NewSession())
        {
            var expected = new[] { 0, 1 }.Select(of => shared.Generate(new Request(of)).Rgba).ToArray();
            var works = expected.Select((rgba, of) => Task.Run(() =>
            {
                for (int images = 0; images < 5000;)
                {
                    try
                    {
                        Check.That(shared.Generate(new Request(of)).Rgba.SequenceEqual(rgba), "its own");
                        images++;
                    }
                    catch (FlowTurboException e) { Check.Same(e.Status, Status.Busy, e.Message); }
                }
            })).ToArray();
            Task.WaitAll(works);
        }
    }
}
