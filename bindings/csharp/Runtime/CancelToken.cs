using System;

namespace FlowTurbo
{
    /// <summary>Stops the generations, and the opening of models, that name it; from any thread.</summary>
    public sealed class CancelToken : IDisposable
    {
        readonly CancelTokenHandle handle;

        public CancelToken()
        {
            IntPtr made;
            Native.Check(Native.ft_cancel_token_new(out made));
            handle = new CancelTokenHandle(made);
        }

        public void Cancel() { Native.Check(Native.ft_cancel_token_cancel(handle)); }

        /// <summary>Makes the token usable again.</summary>
        public void Reset() { Native.Check(Native.ft_cancel_token_reset(handle)); }

        public bool IsCancelled
        {
            get
            {
                byte cancelled;
                Native.Check(Native.ft_cancel_token_is_cancelled(handle, out cancelled));
                return cancelled != 0;
            }
        }

        public void Dispose() { handle.Dispose(); }

        /// The library itself looks whether the token is still there.
        internal IntPtr Raw { get { return handle.DangerousGetHandle(); } }
    }
}
