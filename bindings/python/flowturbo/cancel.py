"""A flag that stops generations from any thread."""

from __future__ import annotations

import weakref
from ctypes import byref, c_uint8

from flowturbo.native import check, library, made


class CancelToken:
    """Stops every generation that was given it: each raises `Cancelled` after the operation at hand, milliseconds
    later. From any thread. There may be 4096 at a time, with one for each session that generated without."""

    def __init__(self) -> None:
        self.handle = made(library().ft_cancel_token_new)
        weakref.finalize(self, library().ft_cancel_token_free, self.handle)

    def cancel(self) -> None:
        check(library().ft_cancel_token_cancel(self.handle))

    def reset(self) -> None:
        """Makes the token usable again."""
        check(library().ft_cancel_token_reset(self.handle))

    @staticmethod
    def given(token: CancelToken | None) -> CancelToken | None:
        if token is not None and not isinstance(token, CancelToken):
            raise TypeError(f"cancel {token!r}: must be a CancelToken")
        return token

    @property
    def is_cancelled(self) -> bool:
        cancelled = c_uint8()
        check(library().ft_cancel_token_is_cancelled(self.handle, byref(cancelled)))
        return bool(cancelled)
