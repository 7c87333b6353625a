// What MaterialGenerator uses of Unity's scripting API, as far as it can be had without the editor: enough to compile
// it and to run its frames.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace AOT
{
    [AttributeUsage(AttributeTargets.Method)]
    public sealed class MonoPInvokeCallbackAttribute : Attribute
    {
        public MonoPInvokeCallbackAttribute(Type type) { }
    }
}

namespace Unity.Collections
{
    public struct NativeArray<T> where T : struct
    {
        internal IntPtr Memory;
        public int Length { get; internal set; }
    }

    namespace LowLevel.Unsafe
    {
        public static class NativeArrayUnsafeUtility
        {
            public static unsafe void* GetUnsafePtr<T>(NativeArray<T> array) where T : struct
            {
                return array.Memory.ToPointer();
            }
        }
    }
}

namespace UnityEngine
{
    public class TooltipAttribute : Attribute { public TooltipAttribute(string text) { } }
    public class RangeAttribute : Attribute { public RangeAttribute(float least, float most) { } }
    public class MinAttribute : Attribute { public MinAttribute(float least) { } }

    public enum TextureFormat { RGBA32 = 4 }
    public enum TextureWrapMode { Repeat = 0 }

    public class Object
    {
        internal bool Destroyed;
        public static void Destroy(Object gone) { gone.Destroyed = true; }
    }

    public class MonoBehaviour : Object { }

    public class TextAsset : Object { public byte[] bytes { get; set; } }

    public static class Application { public static string streamingAssetsPath { get; set; } }

    public class Material : Object
    {
        internal readonly Dictionary<string, Texture2D> Textures = new Dictionary<string, Texture2D>();
        internal readonly List<string> Keywords = new List<string>();
        public void SetTexture(string name, Texture2D texture) { Textures[name] = texture; }
        public void EnableKeyword(string keyword) { Keywords.Add(keyword); }
    }

    public class Texture2D : Object
    {
        internal readonly IntPtr Memory;
        internal readonly int Bytes, Width, Height;
        internal readonly bool Linear;
        internal int Applied;
        public TextureWrapMode wrapMode { get; set; }

        public Texture2D(int width, int height, TextureFormat format, bool mipChain, bool linear)
        {
            Width = width;
            Height = height;
            Linear = linear;
            for (; ; width = Math.Max(1, width / 2), height = Math.Max(1, height / 2))
            {
                Bytes += 4 * width * height;
                if (!mipChain || width == 1 && height == 1) break;
            }
            Memory = Marshal.AllocHGlobal(Bytes);
        }

        public Unity.Collections.NativeArray<T> GetRawTextureData<T>() where T : struct
        {
            return new Unity.Collections.NativeArray<T> { Memory = Memory, Length = Bytes };
        }

        public void Apply(bool updateMipmaps) { Applied++; }
    }
}
