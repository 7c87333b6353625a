using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace FlowTurbo
{
    /// Arrays and texts that native code looks at during one call: they stay where they are until this is disposed.
    internal sealed class Pinned : IDisposable
    {
        static readonly Encoding strict = new UTF8Encoding(false, true);

        readonly List<GCHandle> held = new List<GCHandle>();

        /// The address of an array's first element; zero for null.
        internal IntPtr Address(Array array)
        {
            if (array == null) return IntPtr.Zero;
            var handle = GCHandle.Alloc(array, GCHandleType.Pinned);
            held.Add(handle);
            return handle.AddrOfPinnedObject();
        }

        /// A text in UTF-8, with the zero that ends it; zero for null.
        internal IntPtr Address(string text, string what)
        {
            if (text == null) return IntPtr.Zero;
            if (text.IndexOf('\0') >= 0)
                throw new ArgumentException(what + ": has a NUL, where the library would take it to end");
            try { return Address(strict.GetBytes(text + '\0')); }
            catch (EncoderFallbackException e)
            {
                throw new ArgumentException(what + ": has half of a surrogate pair, which is no character", e);
            }
        }

        /// Texts as an array of their addresses.
        internal IntPtr Address(string[] texts, string what)
        {
            if (texts == null) return IntPtr.Zero;
            return Address(Array.ConvertAll(texts, text => Address(text, what)));
        }

        public void Dispose()
        {
            foreach (var handle in held) handle.Free();
            held.Clear();
        }
    }
}
