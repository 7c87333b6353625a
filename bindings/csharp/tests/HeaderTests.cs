// The binding's structs, numbers and functions are the header's.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using FlowTurbo;

static class HeaderTests
{
    static readonly string header = File.ReadAllText(Check.At("include", "flowturbo.h"));

    public static void StructsLieAsTheTableSays()
    {
        var table = File.ReadAllLines(Check.At("tests", "c", "layout.txt"));
        var found = new List<string>();
        var missing = new List<string>();
        foreach (var name in table.Where(line => !line.Contains('.')).Select(line => line.Split(' ')[0]))
        {
            var type = typeof(Native).Assembly.GetType("FlowTurbo." + name);
            if (type == null)
            {
                missing.Add(name);
                continue;
            }
            found.Add(name + " " + Marshal.SizeOf(type));
            foreach (var field in type.GetFields().OrderBy(field => (long)Marshal.OffsetOf(type, field.Name)))
                found.Add(name + "." + field.Name + " " + Marshal.OffsetOf(type, field.Name) + " "
                    + Marshal.SizeOf(field.FieldType));
        }
        Check.Same(string.Join(" ", missing), "ft_reader ft_option ft_limits ft_device_info",
            "structs that are not here");
        var expected = table.Where(line => !missing.Contains(line.Split(' ', '.')[0]));
        Check.Same(string.Join("\n", found), string.Join("\n", expected), "layout");
        Check.That(found.Count > 80, "structs are there");
    }

    // Where a struct is filled or read, under which name, and what of it is not: what its init function sets, threads
    // that a program lends, options by name, limits, latents while they change.
    static readonly string[,] used =
    {
        { "ft_pixels", "Pixels.cs", "raw", "struct_size" },
        { "ft_request", "Request.cs", "raw", "struct_size progress_data reserved reserved_end" },
        { "ft_progress", "Progress.cs", "raw", "struct_size latents latent_count" },
        { "ft_model_info", "Model.cs", "info", "reserved_end reserved" },
        { "ft_model_options", "Model.cs", "raw",
            "struct_size lanes parallel_for parallel_data options option_count limits" },
        { "ft_memory", "Model.cs", "memory", "reserved" },
    };

    public static void EveryFieldIsUsedOrListed()
    {
        for (int at = 0; at < used.GetLength(0); at++)
        {
            var code = File.ReadAllText(Check.At("bindings", "csharp", "Runtime", used[at, 1]));
            var fields = typeof(Native).Assembly.GetType("FlowTurbo." + used[at, 0]).GetFields();
            string of = "\\b" + used[at, 2] + "\\.", made = "new " + used[at, 0] + " { ";
            var unused = fields.Select(field => field.Name)
                .Where(name => !Regex.IsMatch(code, of + name + "\\b|" + made + name + " ="));
            Check.Same(string.Join(" ", unused), used[at, 3], used[at, 0]);
        }
    }

    static void Numbers(Type type, string prefix, params string[] but)
    {
        var named = Regex.Matches(header, "#define FT_" + prefix + "([A-Z0-9_]+) ([0-9]+)\n").Cast<Match>()
            .Where(match => !but.Contains(match.Groups[1].Value))
            .ToDictionary(match => match.Groups[1].Value.Replace("_", "").ToLower(), match => match.Groups[2].Value);
        Check.That(named.Count > 1, prefix + " is in the header");
        var mine = Enum.GetValues(type).Cast<Enum>().ToDictionary(value => value.ToString().ToLower(),
            value => value.ToString("D"));
        if (type == typeof(Status)) mine.Remove("ok");
        Check.Same(string.Join(" ", mine.OrderBy(pair => pair.Key)), string.Join(" ", named.OrderBy(pair => pair.Key)),
            type.Name);
    }

    public static void NumbersAreTheHeaders()
    {
        Numbers(typeof(Status), "ERROR_");
        Numbers(typeof(PixelFormat), "PIXEL_");
        Numbers(typeof(Maps), "MAP_", "NORMAL_Y_DOWN");
        Numbers(typeof(Preview), "PREVIEW_");
        Numbers(typeof(Tile), "TILE_");
        Numbers(typeof(Precision), "PRECISION_");
        Numbers(typeof(Device), "DEVICE_");
        Numbers(typeof(Networks), "NETWORK_");
        foreach (var line in new[] { "FT_OK 0", "FT_OUTPUT_LATENTS 1", "FT_MAP_NORMAL_Y_DOWN 1",
            "FT_WHOLE_STEP " + Session.WholeStep + "ull" })
            Check.That(header.Contains("#define " + line + "\n"), line);
    }

    // What .NET has other means for, or nobody has asked for yet.
    static readonly string[] notBound = { "ft_device_count", "ft_device_get_info",
        "ft_limits_init", "ft_log_set", "ft_model_open_reader", "ft_reader_init",
        "ft_session_decode", "ft_status_name", "ft_version" };

    public static void EveryFunctionOfTheHeaderIsBoundOrListed()
    {
        var declared = Regex.Matches(header, @"^[a-z].*?\b(ft_[a-z_]+)\(", RegexOptions.Multiline).Cast<Match>()
            .Select(match => match.Groups[1].Value).Distinct();
        var bound = typeof(Native).GetMethods(BindingFlags.Static | BindingFlags.NonPublic)
            .Where(method => method.Name.StartsWith("ft_")).Select(method => method.Name).Distinct();
        Check.Same(string.Join("\n", bound.Concat(notBound).OrderBy(name => name, StringComparer.Ordinal)),
            string.Join("\n", declared.OrderBy(name => name, StringComparer.Ordinal)), "functions");
    }
}
