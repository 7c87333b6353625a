"""The networks, as PyTorch modules whose state dicts match the published checkpoints.

`sit`          velocity predictor and refiner (SiT / DiT layout)
`autoencoder`  the small autoencoder that the bundled texture model uses
`kl`           the part of diffusers' AutoencoderKL that decodes and encodes (layout of its checkpoints)
"""
