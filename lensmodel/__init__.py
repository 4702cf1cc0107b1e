"""Lens, the model: data plan, denoiser, training, sampling. It reads what `lensdata build-shards` wrote.

Submodules import torch; this one does not, so that `lensmodel --help` answers at once.
"""
