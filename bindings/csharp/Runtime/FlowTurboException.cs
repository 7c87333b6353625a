using System;

namespace FlowTurbo
{
    /// <summary>How a call ended; a newer library may return numbers that are not listed here.</summary>
    public enum Status
    {
        Ok = 0,
        InvalidArgument = 1,
        InvalidBundle = 2,
        Unsupported = 3,
        LimitExceeded = 4,
        Io = 5,
        NonFinite = 6,
        Cancelled = 7,
        Runtime = 8,
        Panic = 9,
        Busy = 10,
        InvalidHandle = 11,
        OutOfMemory = 12,
    }

    /// <summary>What the library had to say of a call that failed: one line that names what to mend.</summary>
    public sealed class FlowTurboException : Exception
    {
        public Status Status { get; private set; }

        internal FlowTurboException(Status status, string message) : base(message) { Status = status; }
    }
}
