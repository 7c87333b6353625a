// Unity's component, on the stub: its frames, and what it writes where.

using System;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using FlowTurbo;
using UnityEngine;

static class MaterialGeneratorTests
{
    /// Calls what Unity calls by its name.
    static void Send(MaterialGenerator generator, string message)
    {
        var method = typeof(MaterialGenerator).GetMethod(message, BindingFlags.Instance | BindingFlags.NonPublic);
        try { method.Invoke(generator, null); }
        catch (TargetInvocationException e) { throw e.InnerException; }
    }

    static int Frames(MaterialGenerator generator)
    {
        int frames = 0;
        for (; generator.IsBusy; frames++) Send(generator, "Update");
        return frames;
    }

    /// A texture's pixels as an image has them, from top to bottom.
    static byte[] Seen(Texture2D texture)
    {
        var raw = new byte[4 * texture.Width * texture.Height];
        Marshal.Copy(texture.Memory, raw, 0, raw.Length);
        int row = 4 * texture.Width;
        var upwards = Enumerable.Range(1, texture.Height);
        return upwards.SelectMany(up => raw.Skip(raw.Length - up * row).Take(row)).ToArray();
    }

    public static void TexturesAreMadeAFewMillisecondsAFrame()
    {
        Application.streamingAssetsPath = Check.At("models");
        var material = new Material();
        int finished = 0;
        var generator = new MaterialGenerator { material = material, seed = 3, schedule = "H1P2R1" };
        generator.millisecondsPerFrame = 1;
        generator.Finished += made => finished++;
        Send(generator, "Update");
        Check.That(!generator.IsBusy && generator.Color == null, "nothing until it is asked");
        generator.Generate();
        Check.That(Frames(generator) > 10, "frames");
        Check.Same(finished, 1, "finished");
        using (var model = Model.Open(Check.At("models", "textures.ftplan"), new ModelOptions { Threads = 1 }))
        using (var session = model.NewSession())
        {
            var request = new Request(model.FindClass("grass")) { Seed = 3, Schedule = "H1P2R1", Tile = Tile.Both };
            Check.SameBytes(Seen(generator.Color), session.Generate(request).Rgba, "colour");
        }
        Check.That(material.Textures["_BaseMap"] == generator.Color && generator.Color.Applied == 1, "on the material");
        Check.That(generator.Normal == null && generator.Mask == null && material.Keywords.Count == 0, "colour alone");
        var before = Seen(generator.Color);
        var texture = generator.Color;
        generator.seed = 4;
        generator.Generate();
        Send(generator, "Update");
        generator.Generate();
        Frames(generator);
        Check.That(generator.Color == texture && !Seen(texture).SequenceEqual(before) && finished == 2, "made anew");
        Send(generator, "OnDestroy");
        Check.That(texture.Destroyed, "destroyed");
    }

    public static void AModelOfMaterialsGivesNormalsAndMasks()
    {
        var bundle = Check.At("tests", "data", "tiny-maps", "bundle");
        Application.streamingAssetsPath = Path.GetDirectoryName(bundle);
        var generator = new MaterialGenerator { path = "bundle", className = "1", seamless = false };
        generator.material = new Material();
        generator.Generate();
        Frames(generator);
        using (var model = Model.Open(bundle, new ModelOptions { Threads = 1 }))
        using (var session = model.NewSession())
        {
            session.Generate(new Request(1));
            foreach (var map in new[] { Maps.Normal, Maps.HdrpMask })
            {
                var expected = new byte[16 * 16 * 4];
                session.GetMap(map, new Pixels(expected, PixelFormat.Rgba8));
                var texture = map == Maps.Normal ? generator.Normal : generator.Mask;
                Check.SameBytes(Seen(texture), expected, map.ToString());
                Check.That(texture.Linear && !generator.Color.Linear, "colour spaces");
            }
        }
        Check.Same(string.Join(" ", generator.material.Keywords), "_NORMALMAP _METALLICSPECGLOSSMAP", "keywords");
        Check.Same(generator.material.Textures.Count, 3, "textures");
        Send(generator, "OnDestroy");
    }

    public static void AModelWithoutASessionGetsOneTheNextTime()
    {
        Application.streamingAssetsPath = Check.At("tests", "data", "tiny-maps");
        var generator = new MaterialGenerator { path = "bundle", className = "1", seamless = false };
        // What is left when there was no memory for a session.
        typeof(MaterialGenerator).GetField("opened", BindingFlags.Instance | BindingFlags.NonPublic)
            .SetValue(generator, SessionTests.Open(Path.Combine(Application.streamingAssetsPath, "bundle")));
        generator.Generate();
        Frames(generator);
        Check.That(generator.Color != null, "made");
        Send(generator, "OnDestroy");
    }

    public static void AnErrorEndsTheGenerationAndIsThrownOnce()
    {
        var generator = new MaterialGenerator
        {
            model = new TextAsset { bytes = File.ReadAllBytes(Check.At("models", "textures.ftplan")) },
            className = "gras",
        };
        Check.Throws<FlowTurboException>(generator.Generate, "grass");
        Check.That(!generator.IsBusy, "not begun");
        generator.className = "grass";
        generator.prompt = "moss";
        Check.Throws<FlowTurboException>(generator.Generate, "no text encoder");
        generator.prompt = "";
        generator.Finished += made => { throw new InvalidOperationException("of the game's"); };
        generator.schedule = "E1";
        generator.Generate();
        Check.Throws<InvalidOperationException>(() => Frames(generator), "of the game's");
        Send(generator, "Update");
        Check.That(!generator.IsBusy && generator.Color != null, "over");
        Send(generator, "OnDestroy");
    }
}
