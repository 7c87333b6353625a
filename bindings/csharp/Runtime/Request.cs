using System;

namespace FlowTurbo
{
    /// <summary>Axes along which an image continues seamlessly on its other side.</summary>
    public enum Tile : uint
    {
        None = 0,
        X = 1,
        Y = 2,
        Both = 3,
    }

    /// <summary>
    /// One generation: an image for each class, or for each prompt where there are no classes. What is left alone is
    /// the bundle's own. Arrays are looked at during the call that takes the request.
    /// </summary>
    public sealed class Request
    {
        int count;

        public Request(params long[] classes) { Classes = classes; }

        /// <summary>The class of each image; empty for none, with prompts or contexts.</summary>
        public long[] Classes { get; set; }
        /// <summary>What the images show, in words, for models with a text encoder: one for each, or one for all.
        /// </summary>
        public string[] Prompts { get; set; }
        /// <summary>What they do not show.</summary>
        public string NegativePrompt { get; set; }

        /// <summary>Images to make: as many as classes, or else prompts, unless it is set.</summary>
        public int Count
        {
            get { return count > 0 ? count : Math.Max(1, Length(Classes) > 0 ? Length(Classes) : Length(Prompts)); }
            set { count = (int)Pixels.Size("Count", value); }
        }

        /// <summary>Seed of the noise: the same on every machine.</summary>
        public ulong Seed { get; set; }
        /// <summary>A seed for each image instead of <see cref="Seed"/>.</summary>
        public ulong[] Seeds { get; set; }
        /// <summary>The stream of its seed that each image's noise is taken from.</summary>
        public ulong[] Streams { get; set; }
        /// <summary>The noise to start from instead: floats [count, channels, height, width] of the latent.</summary>
        public float[] Noise { get; set; }
        /// <summary>How far the noise is turned towards that of <see cref="VariationSeed"/>, 0 to 1.</summary>
        public float Variation { get; set; }
        public ulong VariationSeed { get; set; }

        /// <summary>The steps, such as "H1P5R3".</summary>
        public string Schedule { get; set; }
        /// <summary>Scale of classifier-free guidance; 1 is none.</summary>
        public float? Guidance { get; set; }
        /// <summary>A name from the bundle for a schedule and a guidance, where those are not set.</summary>
        public string Preset { get; set; }

        public Tile Tile { get; set; }
        /// <summary>Columns and rows of the images; 0 for the model's own.</summary>
        public int Width { get; set; }
        public int Height { get; set; }

        /// <summary>The images to begin with: one for each, or one for all.</summary>
        public Pixels? Init { get; set; }
        /// <summary>How many <see cref="Init"/> holds; 0 is 1.</summary>
        public int InitCount { get; set; }
        /// <summary>How much of the way from noise to image is done anew, above 0 and at most 1.</summary>
        public float? Strength { get; set; }
        /// <summary>What of <see cref="Init"/> is made anew: a byte for each pixel, 255 is new.</summary>
        public byte[] Mask { get; set; }

        /// <summary>A second class for each image, and how much of it, 0 to 1.</summary>
        public long[] MorphClasses { get; set; }
        public float[] MorphAmounts { get; set; }

        /// <summary>Contexts, for models that take them: one for each image, or one for all.</summary>
        public float[] Context { get; set; }
        public int ContextRows { get; set; }
        /// <summary>Likewise, what guidance goes away from.</summary>
        public float[] NegativeContext { get; set; }
        public int NegativeContextRows { get; set; }

        /// <summary>Latents alone: the decoder does not run.</summary>
        public bool LatentsOnly { get; set; }
        /// <summary>Shows <see cref="Progress"/> what the images look like so far.</summary>
        public bool Preview { get; set; }
        /// <summary>Stops the generation.</summary>
        public CancelToken Cancel { get; set; }
        /// <summary>
        /// Called after each step and each decoded image, on the thread that generates. An exception stops the
        /// generation, and comes out of the call that ran it.
        /// </summary>
        public Action<Progress> Progress { get; set; }

        internal static Request Copy(Request request)
        {
            if (request == null) throw new ArgumentNullException("request");
            return (Request)request.MemberwiseClone();
        }

        internal ft_request Raw(Pinned pinned)
        {
            var raw = new ft_request();
            Native.Check(Native.ft_request_init(ref raw, Native.SizeOf<ft_request>()));
            raw.image_count = (uint)Count;
            // The library is not told how many of these there are.
            raw.classes = pinned.Address(ForEach("Classes", Length(Classes) == 0 ? null : Classes));
            raw.morph_classes = pinned.Address(ForEach("MorphClasses", MorphClasses));
            raw.morph_amounts = pinned.Address(ForEach("MorphAmounts", MorphAmounts));
            raw.seed = Seed;
            raw.schedule = pinned.Address(Schedule, "Schedule");
            if (Guidance.HasValue) raw.guidance = Guidance.Value;
            raw.output = LatentsOnly ? 1u : 0;
            raw.noise = pinned.Address(Noise);
            raw.noise_count = Counted(Noise);
            if (Cancel != null) raw.cancel = Cancel.Raw;
            if (Progress != null) raw.progress = Session.ProgressPointer;
            raw.preview = Preview ? (uint)FlowTurbo.Preview.Linear : 0;
            raw.preset = pinned.Address(Preset, "Preset");
            raw.tile = (uint)Tile;
            raw.width = Pixels.Size("Width", Width);
            raw.height = Pixels.Size("Height", Height);
            if (Strength.HasValue) raw.strength = Strength.Value;
            if (Init.HasValue) raw.init = pinned.Address(new[] { Init.Value.Raw(pinned) });
            raw.init_count = Pixels.Size("InitCount", InitCount);
            raw.variation = Variation;
            raw.variation_seed = VariationSeed;
            raw.mask = pinned.Address(Mask);
            raw.mask_size = Counted(Mask);
            raw.seeds = pinned.Address(Seeds);
            raw.seed_count = Counted(Seeds);
            raw.streams = pinned.Address(Streams);
            raw.stream_count = Counted(Streams);
            raw.context = pinned.Address(Context);
            raw.context_count = Counted(Context);
            raw.context_rows = (UIntPtr)Pixels.Size("ContextRows", ContextRows);
            raw.negative_context = pinned.Address(NegativeContext);
            raw.negative_context_count = Counted(NegativeContext);
            raw.negative_context_rows = (UIntPtr)Pixels.Size("NegativeContextRows", NegativeContextRows);
            raw.prompts = pinned.Address(Prompts, "Prompts");
            raw.prompt_count = Counted(Prompts);
            raw.negative_prompt = pinned.Address(NegativePrompt, "NegativePrompt");
            return raw;
        }

        Array ForEach(string what, Array values)
        {
            if (values != null && values.Length != Count)
                throw new ArgumentException(what + ": " + values.Length + " for " + Count + " images");
            return values;
        }

        static int Length(Array values) { return values == null ? 0 : values.Length; }

        static UIntPtr Counted(Array values) { return (UIntPtr)(uint)Length(values); }
    }
}
