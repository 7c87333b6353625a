"""What calls raise that the library refuses: an exception for each status, with its one line, which names what to
mend."""

from __future__ import annotations


class Error(Exception):
    """A call that failed. `name` and `status` are C's: `FT_ERROR_IO`, 5."""

    def __init__(self, status: int, name: str, message: str):
        super().__init__(message)
        self.status, self.name = status, name

    def __reduce__(self) -> tuple[type[Error], tuple[int, str, str]]:
        # Exceptions cross processes by their arguments, which here is the message alone.
        return type(self), (self.status, self.name, str(self))


class InvalidArgument(Error, ValueError):
    """Something that makes no sense: a class out of range, a schedule with a typo."""


class InvalidBundle(Error):
    """A bundle that is broken or contradicts itself."""


class Unsupported(Error):
    """What this library or this processor cannot do."""


class LimitExceeded(Error):
    """A size above the limits in force."""


class IOFailed(Error, OSError):
    """A file or a reader that could not be read or written."""


class NonFinite(Error, ArithmeticError):
    """A number that is not finite, in weights or while sampling."""


class Cancelled(Error):
    """A generation that its token or its callback stopped."""


class NetworkFailed(Error, RuntimeError):
    """A network that failed while it ran, or threads that the system refuses."""


class Panicked(Error, RuntimeError):
    """A mistake inside the library. The session that it happened in can only be closed."""


class Busy(Error, RuntimeError):
    """A session that is at work on another thread, or further up on this one."""


class InvalidHandle(Error, ValueError):
    """Something that was closed already, or opened by the process that this one was forked from."""


class OutOfMemory(Error, MemoryError):
    """Memory that the system refused."""


# By status, from 1.
KINDS = (
    InvalidArgument,
    InvalidBundle,
    Unsupported,
    LimitExceeded,
    IOFailed,
    NonFinite,
    Cancelled,
    NetworkFailed,
    Panicked,
    Busy,
    InvalidHandle,
    OutOfMemory,
)


def of_status(status: int, name: str, message: str) -> Error:
    """A newer library's statuses have no kind of their own."""
    kind = KINDS[status - 1] if 0 < status <= len(KINDS) else Error
    return kind(status, name, message)
