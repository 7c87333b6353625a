using System.Runtime.InteropServices;

namespace FlowTurbo
{
    /// <summary>What a generation reports after each step of its schedule, and after each decoded image.</summary>
    public sealed class Progress
    {
        /// <summary>Steps done, from 1, of all.</summary>
        public int Step { get; private set; }
        public int Steps { get; private set; }
        /// <summary>The step just done, as its letter in the schedule.</summary>
        public char Kind { get; private set; }
        /// <summary>The time that the step took, or the image.</summary>
        public long Microseconds { get; private set; }
        /// <summary>Images decoded, of all; 0 as long as there are steps left.</summary>
        public int Decoded { get; private set; }
        public int Images { get; private set; }
        /// <summary>
        /// With <see cref="Request.Preview"/>: what the images look like so far, in RGB, of
        /// <see cref="PreviewWidth"/> x <see cref="PreviewHeight"/>; else null.
        /// </summary>
        public byte[] Preview { get; private set; }
        public int PreviewWidth { get; private set; }
        public int PreviewHeight { get; private set; }

        internal Progress(ref ft_progress raw)
        {
            Step = (int)raw.step;
            Steps = (int)raw.steps;
            Kind = (char)raw.kind;
            Microseconds = (long)raw.microseconds;
            Decoded = (int)raw.decoded;
            Images = (int)raw.pictures;
            if (raw.preview == System.IntPtr.Zero) return;
            Preview = new byte[(int)raw.preview_size];
            Marshal.Copy(raw.preview, Preview, 0, Preview.Length);
            PreviewWidth = (int)raw.preview_width;
            PreviewHeight = (int)raw.preview_height;
        }
    }
}
