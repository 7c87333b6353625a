"""Images from flow models, on the CPU, by the shared library of flowturbo.

    import flowturbo

    with flowturbo.Model.open("models/textures.ftplan") as model, model.session() as session:
        made = session.generate(classes="brick", seed=7)
        made.images  # uint8 [N,H,W,3]
        flowturbo.save_png(made.images[0], "brick.png")

`Request` lists the keywords of `generate`. What the library refuses is a `flowturbo.Error`, whose one line names what
to mend.
"""

from flowturbo.cancel import CancelToken
from flowturbo.errors import (
    Busy,
    Cancelled,
    Error,
    InvalidArgument,
    InvalidBundle,
    InvalidHandle,
    IOFailed,
    LimitExceeded,
    NetworkFailed,
    NonFinite,
    OutOfMemory,
    Panicked,
    Unsupported,
)
from flowturbo.generation import Generation, Progress
from flowturbo.gpus import DeviceInfo, devices
from flowturbo.logs import set_log_level
from flowturbo.model import Memory, Model, ModelInfo, Precision
from flowturbo.native import library
from flowturbo.pixels import save_png
from flowturbo.request import Request
from flowturbo.session import Session

__version__: str


def __getattr__(name: str) -> str:
    # The library is loaded when it is first used.
    if name == "__version__":
        return str(library().ft_version_string().decode())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Busy",
    "CancelToken",
    "Cancelled",
    "DeviceInfo",
    "Error",
    "Generation",
    "IOFailed",
    "InvalidArgument",
    "InvalidBundle",
    "InvalidHandle",
    "LimitExceeded",
    "Memory",
    "Model",
    "ModelInfo",
    "NetworkFailed",
    "NonFinite",
    "OutOfMemory",
    "Panicked",
    "Precision",
    "Progress",
    "Request",
    "Session",
    "Unsupported",
    "__version__",
    "devices",
    "save_png",
    "set_log_level",
]
