"""What training costs before it is paid for: floating-point operations, memory and GPU-hours of a configuration.

Only matrix products and attention are counted, a multiplication with its addition as two; norms, activations and
the optimiser add some per cent of time and next to no operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.buckets import BUCKETS
from catalog.errors import BadInput
from lensmodel.settings import Settings

TEXT_TOKENS = 160  # of a dense caption with its template's suffix, on average
TIME_FEATURES = 256
CAPTION_ENCODER_FLOPS = (
    1.8e12  # GPT-OSS-20B, forward, a caption of the paper's length; not part of what follows
)
STAGES = ("pretrain-512", "pretrain-mixed")
# Bytes that autograd keeps of one token in one block, a unit of width (of bf16 training: of fp32), as
# `lensmodel.measure.kept_for_backward` counts them of the formulas that run off the CPU (tests/lensmodel/test_cost.py
# compares). They were counted on a CPU, whose attention is float32: with bf16 on a GPU its operands take about 8 less.
# The code for the CPU keeps 57 and 85.
KEPT = {True: 80.7, False: 117.9}


@dataclass(frozen=True)
class Gpu:
    """Peak of dense bfloat16 products (FLOP/s) and memory (bytes), as the maker states them."""

    name: str
    peak: float
    memory: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100", 312e12, 80e9),
        Gpu("h100", 989e12, 80e9),
        Gpu("h200", 989e12, 141e9),
        Gpu("b200", 2250e12, 180e9),
        Gpu("l40s", 362e12, 48e9),
        Gpu("rtx4090", 165e12, 24e9),
    )
}


def gpu(name: str) -> Gpu:
    """The GPU of that name. Raises BadInput with the known names."""
    if name not in GPUS:
        raise BadInput(f"there is no GPU {name!r}; there are {', '.join(GPUS)}")
    return GPUS[name]


@dataclass(frozen=True)
class Shape:
    """The sizes of a denoiser that decide its cost."""

    width: int
    layers: int
    hidden: int  # of the SwiGLU
    channels: int  # of an image token
    text_width: int
    text_layers: int

    @classmethod
    def of(cls, settings: Settings, channels: int) -> Shape:
        width = settings.num_attention_heads * settings.attention_head_dim
        texts = len(settings.encoder_layers)
        return cls(width, settings.num_layers, int(width / 3 * 8), channels, settings.enc_hidden_dim, texts)

    def forward(self, image: int, text: int = TEXT_TOKENS) -> float:
        """FLOPs of one sample of `image` and `text` tokens through the model, once.

        The last block's text answers nothing, so neither its output nor its MLP is computed.
        """
        d, both = self.width, image + text
        products = 3 * d * d + d * d + 3 * d * self.hidden  # QKV, out, SwiGLU: of one token in one block
        spared = text * (d * d + 3 * d * self.hidden)
        once = (
            self.layers * 12 * d * d + TIME_FEATURES * d + d * d + 2 * d * d
        )  # modulation, time, output norm
        ends = image * 2 * self.channels * d + text * self.text_layers * self.text_width * d
        linear = 2 * (self.layers * both * products - spared + once + ends)
        attention = 4 * d * (self.layers * both * both - text * both)
        return float(linear + attention)

    @property
    def hidden_matrices(self) -> int:
        """Numbers in the matrices of attention and MLP, both streams."""
        d = self.width
        return self.layers * 2 * (4 * d * d + 3 * d * self.hidden)

    def training(self, image: int, text: int = TEXT_TOKENS, recompute: bool = False) -> float:
        """FLOPs of a training step's share of one sample: the backward pass costs twice the forward one, and
        gradient checkpointing (`recompute`) runs that once more."""
        return self.forward(image, text) * (4 if recompute else 3)

    def sampling(self, image: int, text: int = TEXT_TOKENS, steps: int = 20, guided: bool = True) -> float:
        """FLOPs of drawing one picture; the branch without text costs as much as one with it in a joint batch."""
        return steps * (2 if guided else 1) * self.forward(image, text)


def tokens_of_base(base: int, unit: int = 16) -> int:
    """Image tokens of a square picture of a base, one for unit x unit pixels of its bucket."""
    return round(base / unit) ** 2


def straggling(seconds: Mapping[int, float]) -> dict[int, float]:
    """The share of a step that a rank waits for the slowest, by the base its batch came from.

    `seconds` are those of a batch of each base (any unit). With many ranks nearly every step holds a batch of the
    slowest base, and the step ends with it.
    """
    slowest = max(seconds.values())
    return {base: 1 - value / slowest for base, value in seconds.items()}


def loss_to_stragglers(seconds: Mapping[int, float], ranks: int, shares: Mapping[int, float]) -> float:
    """The share of all ranks' time that waiting costs, if each of `ranks` draws a base with probability `shares`.

    E[max] by the distribution of the slowest base in a step, exact.
    """
    order = sorted(seconds, key=lambda base: seconds[base])
    below = mean_of_slowest = 0.0
    reached = 0.0
    for base in order:
        reached = min(reached + shares[base], 1.0)
        chance = reached**ranks
        mean_of_slowest += seconds[base] * (chance - below)
        below = chance
    mean = sum(seconds[base] * shares[base] for base in order)
    return 1 - mean / mean_of_slowest


def balanced(
    seconds_each: Mapping[int, float], batch: Mapping[int, int], tokens_each: Mapping[int, int]
) -> dict[int, int]:
    """Batch sizes at which every base takes about as long, and none has more tokens than the largest of `batch`.

    `seconds_each` and `tokens_each` (image and text) are those of one sample of each base. Activations grow with
    tokens, so memory that holds `batch` holds these. No batch is to last longer than the longest of `batch`.
    """
    most = max(tokens_each[base] * size for base, size in batch.items())
    roomy = {base: most // tokens_each[base] for base in batch}
    target = min(
        max(seconds_each[base] * size for base, size in batch.items()),
        min(seconds_each[base] * size for base, size in roomy.items()),
    )
    return {base: min(roomy[base], max(1, round(target / seconds_each[base]))) for base in batch}


def buckets_shares() -> dict[int, float]:
    """How often a batch comes from each base if every bucket gives equally many."""
    bases = [bucket.base for bucket in BUCKETS]
    return {base: bases.count(base) / len(bases) for base in sorted(set(bases))}


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU, at the top of a step."""

    weights: float
    gradients: float
    optimiser: float
    ema: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimiser + self.ema + self.activations


def memory(
    shape: Shape, parameters: int, image: int, batch: int, gpus: int, recompute: bool, text: int = TEXT_TOKENS,
    bf16: bool = True, muon: bool = False,
) -> Memory:  # fmt: skip
    """What training with FSDP2 over `gpus` GPUs holds on each of them; with 1, what a GPU with a whole copy holds.

    Weights, gradients, AdamW's two moments (Muon's one) and the EMA are kept in float32 and sharded; one block's
    weights and gradients are gathered at a time (or, of a whole copy under autocast, all weights are kept in bfloat16,
    too).
    Activations: with `recompute` the two streams at each block's entry (float32, as the residual stream is) and one
    block's insides; without, every block's insides, which are KEPT. Activations were held against what autograd keeps
    of small models on a CPU, nothing against a GPU. An estimate: the ends of the model are left out, and allocators and
    communication buffers add some per cent.
    """
    d, tokens, size = shape.width, batch * (image + text), 2 if bf16 else 4
    block = parameters / shape.layers
    inside = tokens * d * KEPT[bf16]
    entries = shape.layers * tokens * d * 4
    if gpus > 1:
        copies, gathered = 2 * size * block, size * block
    else:
        copies, gathered = (2.0 * parameters if bf16 else 0.0), 0.0
    return Memory(
        4 * parameters / gpus + copies,
        4 * parameters / gpus + gathered,
        (8 * parameters - 4 * muon * shape.hidden_matrices) / gpus,
        4 * parameters / gpus,
        entries + inside if recompute else shape.layers * inside,
    )


def gpu_hours(flops: float, gpu: Gpu, utilisation: float = 1.0) -> float:
    """Hours of one `gpu` that runs at `utilisation` of its peak."""
    return flops / (gpu.peak * utilisation) / 3600
