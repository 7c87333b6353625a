// What is disposed of, by whom and when: texts that are read meanwhile, memory that is lent, leaks.

using System;
using System.IO;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;
using FlowTurbo;
using static SessionTests;

static class LifetimeTests
{
    public static void ALabelIsReadWhileTheModelIsDisposed()
    {
        string[] labels;
        using (var one = Open(materials)) labels = new[] { one.Label(0), one.Label(1) };
        for (int turn = 0; turn < 100; turn++)
        {
            var other = Open(materials);
            using (var begun = new ManualResetEventSlim())
            {
                var reader = Task.Run(() =>
                {
                    begun.Set();
                    try { for (int of = 0; ; of ^= 1) Check.Same(other.Label(of), labels[of], "turn " + turn); }
                    catch (ObjectDisposedException) { }
                });
                begun.Wait();
                other.Dispose();
                reader.GetAwaiter().GetResult();
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void Lent(byte[] plan)
    {
        var own = (byte[])plan.Clone();
        var other = Model.OpenMemory(own, new ModelOptions { Threads = 1, Deterministic = true });
        var opened = other.NewSession();
        own = null;
        other.Dispose();
        GC.Collect();
        Check.SameBytes(opened.Generate(Grass()).Rgba, session.Generate(Grass()).Rgba, "from memory");
        opened.Dispose();
        Check.Throws<FlowTurboException>(() => Model.OpenMemory(new byte[] { 1, 2, 3 }));
        Check.Throws<FlowTurboException>(() => Model.OpenMemory(new byte[0]));
    }

    public static void NothingIsLeaked()
    {
        // More tokens than the library has at a time; some are left to the collector.
        for (int turn = 0; turn < 10000; turn++) new CancelToken().Dispose();
        for (int turn = 0; turn < 6000; turn++)
        {
            new CancelToken();
            if (turn % 1000 != 999) continue;
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        var plan = File.ReadAllBytes(textures);
        long before = 0;
        for (int turn = 0; turn < 9; turn++)
        {
            Lent(plan);
            for (int image = 0; image < 8; image++)
                using (var own = model.NewSession())
                    own.Generate(new Request(0) { Schedule = "E1", Progress = step => { } });
            GC.Collect();
            GC.WaitForPendingFinalizers();
            if (turn == 2) before = Check.Resident();
        }
        // A plan that were kept would be 22 MB a turn, a session 5 MB.
        long grown = Check.Resident() - before;
        Check.That(grown < 60 << 20, "memory grew by " + (grown >> 20) + " MB in six turns");
    }
}
