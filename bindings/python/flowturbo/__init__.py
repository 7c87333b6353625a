"""Images from flow models, on the CPU, by the shared library of flowturbo.

    import flowturbo

    library = flowturbo.load_library("libflowturbo.so")
    with flowturbo.Model(library, "models/textures") as model, model.session() as session:
        request = flowturbo.Request([model.find_class("brick")], seed=7)
        images = session.generate(request).images  # uint8 [N,H,W,3]

Everything that the library refuses is a `flowturbo.Error`, whose one line names what to mend.
"""

from flowturbo.abi import Error, load_library
from flowturbo.model import Generation, Model, Request, Session

__all__ = ["Error", "Generation", "Model", "Request", "Session", "load_library"]
