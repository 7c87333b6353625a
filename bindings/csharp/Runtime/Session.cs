using System;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;

namespace FlowTurbo
{
    /// <summary>How a preview is made.</summary>
    public enum Preview : uint
    {
        None = 0,
        /// <summary>Rough, of the latent's own size, in microseconds.</summary>
        Linear = 1,
        /// <summary>By the decoder, of an image's size.</summary>
        Decoded = 2,
    }

    /// <summary>
    /// Room for one generation at a time; a second thread gets <see cref="Status.Busy"/>. After an error it is ready
    /// for the next call.
    /// </summary>
    public sealed class Session : IDisposable
    {
        /// A call that may report progress. The library reports on the thread that called it, so the call is found by
        /// its thread, and nothing managed is handed to native code.
        sealed class Call
        {
            internal Request Request;
            internal Exception Thrown;
        }

        [ThreadStatic] static Call current;

        static readonly ft_progress_callback progress = OnProgress;
        internal static readonly IntPtr ProgressPointer = Marshal.GetFunctionPointerForDelegate(progress);

        /// <summary>Microseconds for <see cref="Step"/>: to the end of a step of the schedule, or of an image.
        /// </summary>
        public const ulong WholeStep = ulong.MaxValue;

        readonly Model model;
        readonly SessionHandle handle;
        Request asked;  // a copy of the one that was taken last

        internal Session(Model model)
        {
            IntPtr made;
            Native.Check(Native.ft_session_new(model.Handle, out made));
            handle = new SessionHandle(made);
            this.model = model;
        }

        /// <summary>Does all that a request needs before its first step: for a loading screen.</summary>
        public void Prepare(Request request)
        {
            using (var pinned = new Pinned())
            {
                var raw = Request.Copy(request).Raw(pinned);
                Native.Check(Native.ft_session_prepare(handle, ref raw));
            }
        }

        /// <summary>Makes images, and returns when they are done.</summary>
        public Images Generate(Request request)
        {
            request = Request.Copy(request);
            // The library looks at the size before memory is taken for it.
            Prepare(request);
            var images = Room(request);
            Generate(request, images.Pixels);
            return images;
        }

        /// <summary>Makes images in the caller's memory, which after a failure is as it was; null for
        /// <see cref="Request.LatentsOnly"/>.</summary>
        public void Generate(Request request, Pixels? pixels)
        {
            request = Request.Copy(request);
            using (var pinned = new Pinned())
            {
                var raw = request.Raw(pinned);
                if (pixels == null)
                {
                    Run(request, () => Native.ft_session_generate(handle, ref raw, IntPtr.Zero));
                    return;
                }
                var memory = pixels.Value.Raw(pinned);
                Run(request, () => Native.ft_session_generate(handle, ref raw, ref memory));
            }
        }

        /// <summary>
        /// Makes images on a thread of the pool. Cancelling stops within an operation of a network, and throws
        /// <see cref="OperationCanceledException"/>.
        /// </summary>
        public async Task<Images> GenerateAsync(Request request, IProgress<Progress> progress = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            var own = Request.Copy(request);
            if (own.Cancel != null)
                throw new ArgumentException("Cancel: GenerateAsync is stopped by its CancellationToken");
            if (progress != null) own.Progress += progress.Report;
            using (own.Cancel = new CancelToken())
            using (cancellation.Register(own.Cancel.Cancel))
            {
                try
                {
                    return await Task.Run(() => Generate(own), cancellation).ConfigureAwait(false);
                }
                catch (FlowTurboException e) when (e.Status == Status.Cancelled)
                {
                    throw new OperationCanceledException(e.Message, e, cancellation);
                }
            }
        }

        /// <summary>Begins a generation that <see cref="Step"/> carries out; one under way is given up.</summary>
        public void Begin(Request request)
        {
            request = Request.Copy(request);
            using (var pinned = new Pinned())
            {
                var raw = request.Raw(pinned);
                Run(request, () => Native.ft_session_begin(handle, ref raw));
            }
        }

        /// <summary>Works for about so many microseconds; true once all is done.</summary>
        public bool Step(ulong microseconds = WholeStep)
        {
            byte done = 0;
            Run(asked, () => Native.ft_session_step(handle, microseconds, out done));
            return done != 0;
        }

        /// <summary>Steps of the schedule that are done, and how many there are.</summary>
        public void GetSteps(out int made, out int all)
        {
            uint steps, of;
            Native.Check(Native.ft_session_get_steps(handle, out steps, out of));
            made = (int)steps;
            all = (int)of;
        }

        /// <summary>Does what is left of the generation, and gives its images; as often as wanted.</summary>
        public Images Finish()
        {
            var images = Room(asked ?? new Request());
            Finish(images.Pixels);
            return images;
        }

        public void Finish(Pixels pixels)
        {
            using (var pinned = new Pinned())
            {
                var memory = pixels.Raw(pinned);
                Run(asked, () => Native.ft_session_finish(handle, ref memory));
            }
        }

        /// <summary>Draws what the generation looks like so far.</summary>
        public void DrawPreview(Preview kind, Pixels pixels)
        {
            using (var pinned = new Pinned())
            {
                var memory = pixels.Raw(pinned);
                Native.Check(Native.ft_session_preview(handle, (uint)kind, ref memory));
            }
        }

        /// <summary>Writes one map of the images that were made last.</summary>
        public void GetMap(Maps map, Pixels pixels, bool normalYDown = false)
        {
            using (var pinned = new Pinned())
            {
                var memory = pixels.Raw(pinned);
                Native.Check(Native.ft_session_get_map(handle, (uint)map, normalYDown ? 1u : 0, ref memory));
            }
        }

        /// <summary>The latents of the last generation: [count, channels, height, width].</summary>
        public float[] GetLatents()
        {
            var latents = LatentRoom(asked ?? new Request());
            Native.Check(Native.ft_session_get_latents(handle, latents, (UIntPtr)(uint)latents.Length));
            return latents;
        }

        /// <summary>Encodes images to latents; 0 for width or height is the model's own.</summary>
        public float[] Encode(Pixels pixels, int count = 1, int width = 0, int height = 0)
        {
            uint columns = Pixels.Size("width", width), rows = Pixels.Size("height", height);
            var latents = LatentRoom(new Request { Count = count, Width = width, Height = height });
            using (var pinned = new Pinned())
            {
                var memory = pixels.Raw(pinned);
                Native.Check(Native.ft_session_encode(handle, ref memory, columns, rows, (uint)count, latents,
                    (UIntPtr)(uint)latents.Length));
            }
            return latents;
        }

        /// <summary>Decodes latents to images; 0 for width or height is the model's own.</summary>
        public void Decode(float[] latents, Pixels pixels, int width = 0, int height = 0)
        {
            if (latents == null) throw new ArgumentNullException("latents");
            using (var pinned = new Pinned())
            {
                var memory = pixels.Raw(pinned);
                Native.Check(Native.ft_session_decode_sized(handle, latents, (UIntPtr)(uint)latents.Length,
                    Pixels.Size("width", width), Pixels.Size("height", height), ref memory));
            }
        }

        /// <summary>Gives the generation under way up, or forgets the last one.</summary>
        public void Reset() { Native.Check(Native.ft_session_reset(handle)); }

        /// <summary>Frees the session as soon as no call is at work on it.</summary>
        public void Dispose() { handle.Dispose(); }

        /// Calls the library for a request, which keeps its callback until another one is taken.
        void Run(Request request, Func<int> work)
        {
            var outer = current;
            var call = current = new Call { Request = request };
            int status;
            try { status = work(); }
            finally { current = outer; }
            if (call.Thrown != null) ExceptionDispatchInfo.Capture(call.Thrown).Throw();
            Native.Check(status);
            asked = request;
        }

        [AOT.MonoPInvokeCallback(typeof(ft_progress_callback))]
        static int OnProgress(IntPtr none, ref ft_progress raw)
        {
            var call = current;
            try
            {
                call.Request.Progress(new Progress(ref raw));
                return 0;
            }
            catch (Exception e)
            {
                call.Thrown = e;
                return 1;
            }
        }

        Images Room(Request request)
        {
            return new Images(request.Count, request.Width == 0 ? model.Width : request.Width,
                request.Height == 0 ? model.Height : request.Height);
        }

        float[] LatentRoom(Request request)
        {
            int width = request.Width == 0 ? model.LatentWidth : request.Width / Math.Max(1, model.CellWidth);
            int height = request.Height == 0 ? model.LatentHeight : request.Height / Math.Max(1, model.CellHeight);
            double floats = (double)request.Count * model.LatentChannels * height * width;
            if (floats > int.MaxValue)
                throw new ArgumentException("count " + request.Count + ", width " + request.Width + ", height "
                    + request.Height + ": such latents are more than an array holds");
            return new float[(int)floats];
        }
    }
}
