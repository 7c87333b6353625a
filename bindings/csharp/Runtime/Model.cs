using System;
using System.Linq;
using System.Runtime.InteropServices;

namespace FlowTurbo
{
    /// <summary>In what numbers networks multiply (docs/precision.md).</summary>
    public enum Precision : uint
    {
        F32 = 0,
        F16Weights = 1,
        Bf16 = 2,
        Int8 = 3,
        F16 = 4,
        Tf32 = 5,
        /// <summary>What flowturbo tune stored in the bundle, as far as this processor has it; else F32.</summary>
        Auto = 6,
    }

    /// <summary>Where networks are computed (docs/cuda.md). GPU N is <c>Device.Cuda + N</c>.</summary>
    public enum Device : uint
    {
        Cpu = 0,
        Auto = 1,
        Cuda = 4096,
    }

    /// <summary>Networks that a model may have besides its predictor.</summary>
    [Flags]
    public enum Networks : uint
    {
        Refiner = 1,
        Decoder = 2,
        Encoder = 4,
        Text = 8,
    }

    /// <summary>Maps of a material (docs/maps.md). Colours are sRGB, all others linear.</summary>
    [Flags]
    public enum Maps : uint
    {
        Color = 1,
        Normal = 2,
        Height = 4,
        Roughness = 8,
        Metallic = 16,
        Occlusion = 32,
        Orm = 64,
        HdrpMask = 128,
    }

    /// <summary>How a model is opened.</summary>
    public sealed class ModelOptions
    {
        /// <summary>Threads of the model's own, the calling one among them; 0 for one per processor.</summary>
        public int Threads { get; set; }
        /// <summary>Images in a request that opening plans for; 0 is 1.</summary>
        public int Batch { get; set; }
        /// <summary>Gives up the weights that only times and classes need; new ones read them again.</summary>
        public bool ReleaseConditioning { get; set; }
        /// <summary>The same request gives the same bits everywhere.</summary>
        public bool Deterministic { get; set; }
        public Precision Precision { get; set; }
        public Device Device { get; set; }
        /// <summary>Stops the opening.</summary>
        public CancelToken Cancel { get; set; }

        internal ft_model_options Raw()
        {
            var raw = new ft_model_options();
            Native.Check(Native.ft_model_options_init(ref raw, Native.SizeOf<ft_model_options>()));
            raw.threads = Pixels.Size("Threads", Threads);
            raw.batch = Pixels.Size("Batch", Batch);
            raw.release_conditioning = ReleaseConditioning ? 1u : 0;
            raw.deterministic = Deterministic ? 1u : 0;
            raw.precision = (uint)Precision;
            raw.device = (uint)Device;
            if (Cancel != null) raw.cancel = Cancel.Raw;
            return raw;
        }
    }

    /// <summary>Bytes that a request takes.</summary>
    public struct Memory
    {
        /// <summary>Held by the model, for all its sessions.</summary>
        public long Model;
        /// <summary>Held by a session once it has run the request.</summary>
        public long Session;
        /// <summary>Taken for a moment besides, when times, classes or contexts are new.</summary>
        public long Passing;
    }

    /// <summary>
    /// A bundle or a plan, opened. Any number of threads may use it, each with a session of its own; sessions go on
    /// working when the model is disposed.
    /// </summary>
    public sealed class Model : IDisposable
    {
        static readonly ft_release_callback release = Release;
        static readonly IntPtr releasePointer = Marshal.GetFunctionPointerForDelegate(release);

        internal readonly ModelHandle Handle;

        /// <summary>Columns and rows of an image; 0 without a decoder.</summary>
        public int Width { get; private set; }
        public int Height { get; private set; }
        public int LatentChannels { get; private set; }
        public int LatentHeight { get; private set; }
        public int LatentWidth { get; private set; }
        /// <summary>Pixels that one cell of the latent stands for; 0 without images.</summary>
        public int CellWidth { get; private set; }
        public int CellHeight { get; private set; }
        public int ClassCount { get; private set; }
        /// <summary>The class that stands for none; -1 if the model knows none.</summary>
        public long NullClass { get; private set; }
        public Networks Networks { get; private set; }
        /// <summary>Threads that work on a request.</summary>
        public int Threads { get; private set; }
        /// <summary>The bundle's own scale of guidance, and its schedule.</summary>
        public float Guidance { get; private set; }
        public string Schedule { get; private set; }
        public string Name { get; private set; }
        /// <summary>One line for people, or null.</summary>
        public string Description { get; private set; }
        /// <summary>SPDX expression for the weights, or null.</summary>
        public string License { get; private set; }
        /// <summary>SHA-256 of the bundle's manifest: 64 hex digits.</summary>
        public string Hash { get; private set; }
        /// <summary>Whether images can be asked to tile.</summary>
        public bool Tiles { get; private set; }
        /// <summary>Floats of a context, or of each of its tokens; 0 if the model takes none.</summary>
        public int ContextWidth { get; private set; }
        public int ContextTokens { get; private set; }
        /// <summary>Where networks are computed: what was asked for, or what <c>Device.Auto</c> took.</summary>
        public Device Device { get; private set; }
        /// <summary>Presets that a request may name.</summary>
        public string[] Presets { get; private set; }
        public Maps Maps { get; private set; }

        /// <summary>The version of the native library.</summary>
        public static string LibraryVersion { get { return Native.Text(Native.ft_version_string()); } }

        /// <summary>Opens a folder, an uncompressed zip file or a plan.</summary>
        public static Model Open(string path, ModelOptions options = null)
        {
            if (path == null) throw new ArgumentNullException("path");
            var raw = (options ?? new ModelOptions()).Raw();
            IntPtr made;
            using (var pinned = new Pinned())
                Native.Check(Native.ft_model_open(pinned.Address(path, "path"), ref raw, out made));
            return new Model(made);
        }

        /// <summary>
        /// Opens a zip file or a plan that is in memory. The array is lent: it stays as it is until the model and its
        /// sessions are disposed.
        /// </summary>
        public static Model OpenMemory(byte[] data, ModelOptions options = null)
        {
            if (data == null) throw new ArgumentNullException("data");
            var raw = (options ?? new ModelOptions()).Raw();
            var lent = GCHandle.Alloc(data, GCHandleType.Pinned);
            IntPtr made;
            // It is released by the library, after a failure too.
            Native.Check(Native.ft_model_open_memory(lent.AddrOfPinnedObject(), (UIntPtr)(uint)data.Length,
                releasePointer, GCHandle.ToIntPtr(lent), ref raw, out made));
            return new Model(made);
        }

        [AOT.MonoPInvokeCallback(typeof(ft_release_callback))]
        static void Release(IntPtr lent) { GCHandle.FromIntPtr(lent).Free(); }

        Model(IntPtr made)
        {
            Handle = new ModelHandle(made);
            var info = new ft_model_info { struct_size = (uint)Native.SizeOf<ft_model_info>() };
            Native.Check(Native.ft_model_get_info(Handle, ref info));
            Width = (int)info.width;
            Height = (int)info.height;
            LatentChannels = (int)info.latent_channels;
            LatentHeight = (int)info.latent_height;
            LatentWidth = (int)info.latent_width;
            CellWidth = (int)info.cell_width;
            CellHeight = (int)info.cell_height;
            ClassCount = (int)info.class_count;
            NullClass = info.null_class;
            Networks = (Networks)info.networks;
            Threads = (int)info.threads;
            Guidance = info.guidance;
            Schedule = Native.Text(info.schedule);
            Name = Native.Text(info.name);
            Description = Native.Text(info.description);
            License = Native.Text(info.license);
            Hash = Native.Text(info.hash);
            Tiles = info.tiles != 0;
            ContextWidth = (int)info.context_width;
            ContextTokens = (int)info.context_tokens;
            Device = (Device)info.device;
            Presets = Enumerable.Range(0, (int)info.preset_count).Select(Preset).ToArray();
            uint maps;
            Native.Check(Native.ft_model_get_maps(Handle, out maps));
            Maps = (Maps)maps;
        }

        string Preset(int index)
        {
            IntPtr name;
            Native.Check(Native.ft_model_preset_name(Handle, (uint)index, out name));
            return Native.Text(name);
        }

        /// <summary>The label of a class, 0 to <see cref="ClassCount"/> - 1.</summary>
        public string Label(long number)
        {
            // The text is the model's: it is not freed before that is read, whoever disposes of it meanwhile.
            bool held = false;
            try
            {
                Handle.DangerousAddRef(ref held);
                IntPtr label;
                Native.Check(Native.ft_model_class_label(Handle, number, out label));
                return Native.Text(label);
            }
            finally
            {
                if (held) Handle.DangerousRelease();
            }
        }

        /// <summary>The class of a label, of one of its synonyms, or of a number as text.</summary>
        public long FindClass(string name)
        {
            if (name == null) throw new ArgumentNullException("name");
            long number;
            using (var pinned = new Pinned())
                Native.Check(Native.ft_model_find_class(Handle, pinned.Address(name, "name"), out number));
            return number;
        }

        /// <summary>Plans what a request needs, and tells the memory it will take.</summary>
        public Memory Prepare(Request request)
        {
            var memory = new ft_memory { struct_size = (uint)Native.SizeOf<ft_memory>() };
            using (var pinned = new Pinned())
            {
                var raw = Request.Copy(request).Raw(pinned);
                Native.Check(Native.ft_model_prepare(Handle, ref raw, ref memory));
            }
            return new Memory
            {
                Model = (long)memory.model_bytes,
                Session = (long)memory.session_bytes,
                Passing = (long)memory.passing_bytes,
            };
        }

        public Session NewSession() { return new Session(this); }

        /// <summary>Frees the model as soon as no call is at work on it.</summary>
        public void Dispose() { Handle.Dispose(); }
    }
}
