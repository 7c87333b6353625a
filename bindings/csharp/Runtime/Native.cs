// The C API of include/flowturbo.h by P/Invoke: structs field for field, under the header's names, and the functions
// that take them. The tests hold layout and numbers to the header's.

using System;
using System.Runtime.InteropServices;
using System.Text;

#if !UNITY_5_3_OR_NEWER
namespace AOT
{
    /// Marks a method that native code calls, for compilers ahead of time; Unity has its own.
    [AttributeUsage(AttributeTargets.Method)]
    internal sealed class MonoPInvokeCallbackAttribute : Attribute
    {
        public MonoPInvokeCallbackAttribute(Type type) { }
    }
}
#endif

namespace FlowTurbo
{
    // Sequential, not explicit: offsets are others on 32-bit machines.
    [StructLayout(LayoutKind.Sequential)]
    internal struct ft_pixels
    {
        public uint struct_size;
        public uint format;
        public IntPtr data;
        public UIntPtr size;
        public UIntPtr row_stride;
        public UIntPtr image_stride;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct ft_model_options
    {
        public uint struct_size;
        public uint threads;
        public uint batch;
        public uint lanes;
        public IntPtr parallel_for;
        public IntPtr parallel_data;
        public IntPtr options;
        public UIntPtr option_count;
        public IntPtr limits;
        public uint release_conditioning;
        public uint deterministic;
        public IntPtr cancel;
        public uint precision;
        public uint device;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct ft_model_info
    {
        public uint struct_size;
        public uint width;
        public uint height;
        public uint latent_channels;
        public uint latent_height;
        public uint latent_width;
        public uint class_count;
        public uint networks;
        public long null_class;
        public float guidance;
        public uint threads;
        public IntPtr name;
        public IntPtr description;
        public IntPtr license;
        public IntPtr schedule;
        public IntPtr hash;
        public uint cell_width;
        public uint cell_height;
        public uint preset_count;
        public uint tiles;
        public UIntPtr reserved_end;
        public uint context_width;
        public uint context_tokens;
        public uint device;
        public uint reserved;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct ft_progress
    {
        public uint struct_size;
        public uint step;
        public uint steps;
        public uint kind;
        public ulong microseconds;
        public IntPtr latents;
        public UIntPtr latent_count;
        public IntPtr preview;
        public UIntPtr preview_size;
        public uint preview_width;
        public uint preview_height;
        public uint decoded;
        public uint pictures;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct ft_request
    {
        public uint struct_size;
        public uint image_count;
        public IntPtr classes;
        public ulong seed;
        public IntPtr schedule;
        public float guidance;
        public uint output;
        public IntPtr noise;
        public UIntPtr noise_count;
        public IntPtr cancel;
        public IntPtr progress;
        public IntPtr progress_data;
        public uint preview;
        public uint reserved;
        public IntPtr preset;
        public uint tile;
        public uint width;
        public uint height;
        public float strength;
        public IntPtr init;
        public uint init_count;
        public float variation;
        public ulong variation_seed;
        public IntPtr mask;
        public UIntPtr mask_size;
        public IntPtr morph_classes;
        public IntPtr morph_amounts;
        public IntPtr seeds;
        public UIntPtr seed_count;
        public IntPtr streams;
        public UIntPtr stream_count;
        public IntPtr context;
        public UIntPtr context_count;
        public UIntPtr context_rows;
        public IntPtr negative_context;
        public UIntPtr negative_context_count;
        public UIntPtr negative_context_rows;
        public IntPtr prompts;
        public UIntPtr prompt_count;
        public IntPtr negative_prompt;
        public UIntPtr reserved_end;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct ft_memory
    {
        public uint struct_size;
        public uint reserved;
        public ulong model_bytes;
        public ulong session_bytes;
        public ulong passing_bytes;
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int ft_progress_callback(IntPtr user_data, ref ft_progress progress);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate void ft_release_callback(IntPtr user_data);

    // Handles are freed once nobody holds them and no call is at work on them.
    internal abstract class Handle : SafeHandle
    {
        protected Handle(IntPtr made) : base(IntPtr.Zero, true) { SetHandle(made); }
        public override bool IsInvalid { get { return handle == IntPtr.Zero; } }
    }

    internal sealed class ModelHandle : Handle
    {
        public ModelHandle(IntPtr made) : base(made) { }
        protected override bool ReleaseHandle() { Native.ft_model_free(handle); return true; }
    }

    internal sealed class SessionHandle : Handle
    {
        public SessionHandle(IntPtr made) : base(made) { }
        protected override bool ReleaseHandle() { Native.ft_session_free(handle); return true; }
    }

    internal sealed class CancelTokenHandle : Handle
    {
        public CancelTokenHandle(IntPtr made) : base(made) { }
        protected override bool ReleaseHandle() { Native.ft_cancel_token_free(handle); return true; }
    }

    internal static class Native
    {
#if UNITY_IOS && !UNITY_EDITOR
        const string Library = "__Internal";
#else
        const string Library = "flowturbo";
#endif
        const CallingConvention C = CallingConvention.Cdecl;

        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr ft_version_string();
        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr ft_last_error_message();

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_pixels_init(ref ft_pixels pixels, UIntPtr struct_size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_pixels_save_png(ref ft_pixels pixels, uint width, uint height, IntPtr path);

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_cancel_token_new(out IntPtr token);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_cancel_token_cancel(CancelTokenHandle token);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_cancel_token_reset(CancelTokenHandle token);
        // A byte, 0 or 1: a `bool` would be marshalled as four.
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_cancel_token_is_cancelled(CancelTokenHandle token, out byte cancelled);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ft_cancel_token_free(IntPtr token);

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_options_init(ref ft_model_options options, UIntPtr struct_size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_open(IntPtr path, ref ft_model_options options, out IntPtr model);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_open_memory(IntPtr data, UIntPtr size, IntPtr release, IntPtr user_data,
            ref ft_model_options options, out IntPtr model);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ft_model_free(IntPtr model);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_get_info(ModelHandle model, ref ft_model_info info);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_class_label(ModelHandle model, long number, out IntPtr label);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_preset_name(ModelHandle model, uint index, out IntPtr name);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_find_class(ModelHandle model, IntPtr name, out long number);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_get_maps(ModelHandle model, out uint maps);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_model_prepare(ModelHandle model, ref ft_request request, ref ft_memory memory);

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_request_init(ref ft_request request, UIntPtr struct_size);

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_new(ModelHandle model, out IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ft_session_free(IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_prepare(SessionHandle session, ref ft_request request);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_generate(SessionHandle session, ref ft_request request,
            ref ft_pixels pixels);
        // Without pixels, for latents alone.
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_generate(SessionHandle session, ref ft_request request, IntPtr none);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_begin(SessionHandle session, ref ft_request request);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_reset(SessionHandle session);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_step(SessionHandle session, ulong microseconds, out byte done);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_get_steps(SessionHandle session, out uint made, out uint all);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_preview(SessionHandle session, uint kind, ref ft_pixels pixels);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_finish(SessionHandle session, ref ft_pixels pixels);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_get_latents(SessionHandle session, [Out] float[] latents,
            UIntPtr count);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_encode(SessionHandle session, ref ft_pixels pixels, uint width,
            uint height, uint image_count, [Out] float[] latents, UIntPtr count);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_decode_sized(SessionHandle session, float[] latents, UIntPtr count,
            uint width, uint height, ref ft_pixels pixels);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ft_session_get_map(SessionHandle session, uint map, uint flags,
            ref ft_pixels pixels);

        /// Throws what the library has to say of a call that failed on this thread.
        internal static void Check(int status)
        {
            if (status != 0) throw new FlowTurboException((Status)status, Text(ft_last_error_message()));
        }

        /// A text of the library's; null for none.
        internal static string Text(IntPtr utf8)
        {
            if (utf8 == IntPtr.Zero) return null;
            int length = 0;
            while (Marshal.ReadByte(utf8, length) != 0) length++;
            var bytes = new byte[length];
            Marshal.Copy(utf8, bytes, 0, length);
            return Encoding.UTF8.GetString(bytes);
        }

        internal static UIntPtr SizeOf<T>() where T : struct { return (UIntPtr)(uint)Marshal.SizeOf(typeof(T)); }
    }
}
