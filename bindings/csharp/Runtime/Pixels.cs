using System;

namespace FlowTurbo
{
    /// <summary>What a pixel is made of. Colours are sRGB, other maps linear; rows run from top to bottom.</summary>
    public enum PixelFormat : uint
    {
        Rgb8 = 1,
        Rgba8 = 2,
        Bgra8 = 3,
        RgbF16 = 4,
        RgbF32 = 5,
        Grey8 = 6,
        Grey16 = 7,
        GreyF32 = 8,
    }

    /// <summary>
    /// Memory for one or more images: an array, or an address such as that of a <c>NativeArray</c>. With both strides 0
    /// images have no gaps, and the memory is just as large as they are.
    /// </summary>
    public struct Pixels
    {
        readonly Array array;
        readonly IntPtr data;
        readonly long size;

        public PixelFormat Format;
        /// <summary>Bytes from the start of a row to the start of the next; 0 for rows without gaps.</summary>
        public long RowStride;
        /// <summary>Bytes from the start of an image to the start of the next; 0 for images without gaps.</summary>
        public long ImageStride;

        /// <summary>All of an array: bytes, or shorts or floats as the format has them.</summary>
        public Pixels(Array array, PixelFormat format) : this()
        {
            if (array == null) throw new ArgumentNullException("array");
            this.array = array;
            size = Buffer.ByteLength(array);
            Format = format;
        }

        /// <summary>Memory of the caller's, which stays where it is during the call that takes this.</summary>
        public Pixels(IntPtr data, long size, PixelFormat format) : this()
        {
            this.data = data;
            this.size = size;
            Format = format;
        }

        /// <summary>Writes the first image to a PNG file, of bytes or of grey in 16 bits.</summary>
        public void SavePng(int width, int height, string path)
        {
            using (var pinned = new Pinned())
            {
                var raw = Raw(pinned);
                Native.Check(Native.ft_pixels_save_png(ref raw, Size("width", width), Size("height", height),
                    pinned.Address(path, "path")));
            }
        }

        internal ft_pixels Raw(Pinned pinned)
        {
            var raw = new ft_pixels();
            Native.Check(Native.ft_pixels_init(ref raw, Native.SizeOf<ft_pixels>()));
            raw.format = (uint)Format;
            raw.data = array == null ? data : pinned.Address(array);
            raw.size = Bytes("size", size);
            raw.row_stride = Bytes("RowStride", RowStride);
            raw.image_stride = Bytes("ImageStride", ImageStride);
            return raw;
        }

        internal static uint Size(string what, int value)
        {
            if (value < 0) throw new ArgumentException(what + ": " + value + ", must not be below 0");
            return (uint)value;
        }

        static UIntPtr Bytes(string what, long value)
        {
            if (value < 0) throw new ArgumentException(what + ": " + value + ", must not be below 0");
            return (UIntPtr)(ulong)value;
        }
    }

    /// <summary>Images as RGBA, one behind the other, from top to bottom.</summary>
    public sealed class Images
    {
        public int Count { get; private set; }
        public int Width { get; private set; }
        public int Height { get; private set; }
        public byte[] Rgba { get; private set; }

        internal Images(int count, int width, int height)
        {
            Count = count;
            Width = width;
            Height = height;
            Rgba = new byte[checked(4L * count * width * height)];
        }

        internal Pixels Pixels { get { return new Pixels(Rgba, PixelFormat.Rgba8); } }

        /// <summary>Writes one of the images to a PNG file.</summary>
        public void SavePng(string path, int index = 0)
        {
            if (index < 0 || index >= Count)
                throw new ArgumentException("index: " + index + " of " + Count + " images");
            int bytes = Rgba.Length / Count;
            var one = new byte[bytes];
            Buffer.BlockCopy(Rgba, index * bytes, one, 0, bytes);
            new Pixels(one, PixelFormat.Rgba8).SavePng(Width, Height, path);
        }
    }
}
