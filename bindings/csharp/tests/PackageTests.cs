// What pack.py has laid out in target/csharp/package, for a library of each platform.

using System;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using FlowTurbo;

static class PackageTests
{
    static readonly string folder = Check.At("target", "csharp", "package");
    static readonly string unity = Path.Combine(folder, "org.flowturbo");

    static string Meta(string file) { return File.ReadAllText(Path.Combine(unity, file) + ".meta"); }

    static string Guid(string meta) { return meta.Split('\n')[1]; }

    public static void EveryFileHasItsImportSettingsAndAGuidOfItsOwn()
    {
        var all = Directory.GetFileSystemEntries(unity, "*", SearchOption.AllDirectories);
        var files = all.Where(path => !path.EndsWith(".meta")).ToArray();
        Check.That(files.Length > 30, "files");
        Check.Same(string.Join("\n", all.Where(path => path.EndsWith(".meta")).OrderBy(path => path)),
            string.Join("\n", files.Select(path => path + ".meta").OrderBy(path => path)), "metas");
        var guids = files.Select(path => Guid(File.ReadAllText(path + ".meta")));
        Check.Same(guids.Distinct().Count(), files.Length, "GUIDs");
        // Scenes and assemblies refer to these: they never change.
        var component = Meta("Runtime/Unity/MaterialGenerator.cs");
        Check.Same(Guid(component), "guid: 45af5e9682adbce63b1c76411a0fa1d4", "component");
        Check.Same(Guid(Meta("Runtime/FlowTurbo.asmdef")), "guid: 9e2a5fdf6568f99eccaf80180e1e6d8a", "assembly");
    }

    public static void EachLibraryIsForItsPlatformAlone()
    {
        var expected = new[,]
        {
            { "linux-x64/native/libflowturbo.so", "Standalone: Linux64", "x86_64", "Linux" },
            { "win-x64/native/flowturbo.dll", "Standalone: Win64", "x86_64", "Windows" },
            { "osx-arm64/native/libflowturbo.dylib", "Standalone: OSXUniversal", "ARM64", "OSX" },
            { "android-arm64/native/libflowturbo.so", "Android: Android", "ARM64", null },
            { "ios-arm64/native/libflowturbo.a", "iPhone: iOS", null, null },
        };
        for (int at = 0; at < expected.GetLength(0); at++)
        {
            var meta = Meta("runtimes/" + expected[at, 0]);
            var enabled = meta.Split(new[] { "- first:\n      " }, StringSplitOptions.None).Skip(1)
                .Where(part => part.Contains("enabled: 1")).Select(part => part.Split('\n')[0]);
            var editor = expected[at, 3] == null ? "" : " Editor: Editor";
            Check.Same(string.Join(" ", enabled), expected[at, 1] + editor, "platforms");
            Check.Same(meta.Contains("CPU:"), expected[at, 2] != null, "processor");
            Check.That(expected[at, 2] == null || meta.Contains("CPU: " + expected[at, 2]), meta);
            Check.That(expected[at, 3] == null || meta.Contains("OS: " + expected[at, 3]), meta);
        }
        int found = Directory.GetDirectories(Path.Combine(unity, "runtimes")).Length;
        Check.Same(found, expected.GetLength(0), "platforms");
    }

    public static void LicencesAreInAndTheReadmeLinksToNothingThatIsNot()
    {
        foreach (var name in new[] { "LICENSE-MIT", "LICENSE-APACHE", "LICENSES-OF-DEPENDENCIES.txt" })
            Check.That(File.ReadAllText(Path.Combine(unity, name)).Length > 500, name);
        var readme = File.ReadAllText(Path.Combine(unity, "README.md"));
        Check.That(readme.Contains("](https:") && readme.Contains("docs/editing.md"), "links and names");
        Check.That(!Regex.IsMatch(readme, @"\]\((?!https:)"), "relative links");
    }

    public static void ThePackageIsOfTheLibrarysVersion()
    {
        var manifest = File.ReadAllText(Path.Combine(unity, "package.json"));
        Check.That(manifest.Contains("\"version\": \"" + Model.LibraryVersion + "\""), manifest);
    }
}
