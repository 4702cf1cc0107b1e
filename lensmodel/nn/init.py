"""Initial weights for training from scratch. The paper states none, so this scheme is ours.

- Every linear layer: normal, std 1/sqrt(fan_in): unit-variance input gives unit-variance output. Fan-in
  alone, because QKV, modulation and the text input are fused matrices whose fan-out says nothing about one
  head or chunk.
- Modulation (`*_mod.1`, `norm_out.linear`) and `proj_out`: a tenth of that. The network starts close to "no
  modulation, predict zero", yet every parameter that is used has a gradient from the first step, which
  all-zero layers delay.
- Gate biases: `gate_init`. At 0 (plus the tenth above) blocks start near identity; at 0.3 they contribute at
  once.
- Other biases 0, norm weights 1.
"""

import torch
from torch import nn


@torch.no_grad()
def init_weights(model: nn.Module, gate_init: float, generator: torch.Generator | None = None) -> None:
    """Draws every parameter anew, in module order on the CPU, so that one seed gives one model on any device.

    Parameters on the meta device are left alone.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or module.weight.is_meta:
            continue
        small = name.endswith(("_mod.1", "norm_out.linear", "proj_out"))
        std = (0.1 if small else 1.0) / module.in_features**0.5
        module.weight.copy_(torch.randn(module.weight.shape, generator=generator, dtype=torch.float32) * std)
        if module.bias is not None:
            module.bias.zero_()
            if name.endswith("_mod.1"):
                chunks = module.bias.view(6, -1)
                chunks[2].fill_(gate_init)
                chunks[5].fill_(gate_init)
    for parameter_name, parameter in model.named_parameters():
        if parameter.ndim == 1 and parameter_name.endswith(".weight"):
            parameter.fill_(1.0)
