using System;
using System.IO;
using Unity.Collections.LowLevel.Unsafe;
using UnityEngine;

namespace FlowTurbo
{
    /// <summary>
    /// Makes a material's textures while the game runs, a few milliseconds a frame: call <see cref="Generate"/>, and
    /// hear of <see cref="Finished"/>. Colour, and normals and HDRP's mask map where the model makes them.
    /// </summary>
    public sealed class MaterialGenerator : MonoBehaviour
    {
        [Tooltip("A plan or bundle as an asset: a file whose name ends in .bytes. Works on every platform.")]
        public TextAsset model;
        [Tooltip("Without an asset: a file below StreamingAssets, on platforms where that is a folder.")]
        public string path = "textures.ftplan";
        [Tooltip("A class of the model, by label or number; none for a prompt alone.")]
        public string className = "grass";
        [Tooltip("What the texture shows, in words, for models with a text encoder.")]
        public string prompt = "";
        public int seed;
        [Tooltip("Such as H1P5R3; none for the model's own.")]
        public string schedule = "";
        public bool seamless = true;
        [Range(0.5f, 16)] public float millisecondsPerFrame = 4;
        [Tooltip("Threads of the library's own, this one among them; they sleep between frames.")]
        [Min(1)] public int threads = 1;

        [Tooltip("Where the textures go; none if they are only wanted by a script.")]
        public Material material;
        public string colorProperty = "_BaseMap";
        public string normalProperty = "_BumpMap";
        public string maskProperty = "_MetallicGlossMap";

        public Texture2D Color { get; private set; }
        /// <summary>Null where the model makes none.</summary>
        public Texture2D Normal { get; private set; }
        /// <summary>Metallic, occlusion, 0 and smoothness; null where the model makes no roughness.</summary>
        public Texture2D Mask { get; private set; }
        public bool IsBusy { get; private set; }
        /// <summary>Called on the frame that has written the textures.</summary>
        public event Action<MaterialGenerator> Finished;

        Model opened;
        Session session;

        /// <summary>Begins to make the textures anew; those that are being made are given up.</summary>
        public void Generate()
        {
            IsBusy = false;
            if (opened == null)
            {
                var options = new ModelOptions { Threads = threads };
                opened = model != null
                    ? Model.OpenMemory(model.bytes, options)
                    : Model.Open(Path.Combine(Application.streamingAssetsPath, path), options);
            }
            if (session == null) session = opened.NewSession();
            var request = new Request { Seed = unchecked((ulong)seed), Tile = seamless ? Tile.Both : Tile.None };
            if (className != "") request.Classes = new[] { opened.FindClass(className) };
            if (prompt != "") request.Prompts = new[] { prompt };
            if (schedule != "") request.Schedule = schedule;
            session.Begin(request);
            IsBusy = true;
        }

        void Update()
        {
            if (!IsBusy) return;
            IsBusy = false;  // unless nothing is thrown: an error ends the generation
            if (!session.Step((ulong)(millisecondsPerFrame * 1000)))
            {
                IsBusy = true;
                return;
            }
            Color = Written(Color, Maps.Color, colorProperty);
            Normal = Written(Normal, Maps.Normal, normalProperty);
            Mask = Written(Mask, Maps.HdrpMask, maskProperty);
            if (material != null && Normal != null) material.EnableKeyword("_NORMALMAP");
            if (material != null && Mask != null) material.EnableKeyword("_METALLICSPECGLOSSMAP");
            if (Finished != null) Finished(this);
        }

        /// Writes a map straight into a texture's memory, and sends it to the GPU.
        unsafe Texture2D Written(Texture2D texture, Maps map, string property)
        {
            if ((opened.Maps & map) == 0) return null;
            int width = opened.Width, height = opened.Height;
            if (texture == null)
            {
                bool linear = map != Maps.Color;
                texture = new Texture2D(width, height, TextureFormat.RGBA32, true, linear);
                texture.wrapMode = TextureWrapMode.Repeat;
            }
            // The smaller mip levels lie behind the first, and are made of it by Apply.
            var rows = (byte*)NativeArrayUnsafeUtility.GetUnsafePtr(texture.GetRawTextureData<byte>());
            session.GetMap(map, new Pixels((IntPtr)rows, 4L * width * height, PixelFormat.Rgba8));
            Flip((uint*)rows, width, height);
            texture.Apply(true);
            if (material != null && property != "") material.SetTexture(property, texture);
            return texture;
        }

        /// A texture's first row is its lowest one.
        static unsafe void Flip(uint* pixels, int width, int height)
        {
            for (int row = 0; row < height / 2; row++)
            {
                uint* upper = pixels + row * width, lower = pixels + (height - 1 - row) * width;
                for (int column = 0; column < width; column++)
                {
                    uint pixel = upper[column];
                    upper[column] = lower[column];
                    lower[column] = pixel;
                }
            }
        }

        void OnDestroy()
        {
            if (session != null) session.Dispose();
            if (opened != null) opened.Dispose();
            foreach (var texture in new[] { Color, Normal, Mask })
                if (texture != null) Destroy(texture);
        }
    }
}
