"""Checkpoint -> bundle: what a flowturbo program loads (`bundle.json` + ONNX graphs).

`checkpoint`  a SiT or FlowTurbo state dict -> a `nets.sit.SiT` of the geometry found in it
`vae`         a folder of diffusers' AutoencoderKL -> `nets.kl` encoder and decoder
`synthetic`   random weights in published geometries, for benchmarks
`graph`       a torch module -> an ONNX file, float16 weights and external data included
`fold`        what a graph computes from shapes alone -> constants
`clean`       the rewrites that leave only plain, fixed-shape operators in a graph
`signature`   what each role's network takes and gives
`verify`      ONNX Runtime against PyTorch, on random inputs
`program`     flowturbo against PyTorch, on the bundle as it is written
`manifest`    the fields of `bundle.json` and the rules they must keep
`bundle`      manifest, hashes, folder or zip: `write_bundle` is the whole of it in one call
`sit`         the command line
"""


class ExportError(Exception):
    """A failure the user can do something about; its message is one line."""
