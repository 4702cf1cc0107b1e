"""Hand-written CPU code against plain formulas: values, gradients, and when it steps aside."""

import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lensmodel.nn import LensTransformer, attention, rope
from lensmodel.nn.fused import modulated_norm, norm_rotate, silu_product
from lensmodel.nn.linear import Linear, has_onednn, product
from lensmodel.nn.rope import rotate, rotation

onednn = pytest.mark.skipif(not has_onednn(), reason="needs oneDNN and AVX-512")


def problem(name, dtype=torch.float64):
    """The function by hand, a plain formula, and their arguments; those that require a gradient come first."""
    g = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_()

    if name == "norm":

        def plain(x, gain, shift):
            return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * gain + shift

        args = randn(2, 5, 6), randn(2, 1, 6), randn(2, 1, 6)
        return lambda x, gain, shift: modulated_norm(x, gain, shift, 1e-6, x.dtype), plain, args
    if name == "rotary":
        table = rotation((2, 4, 6), (1, 3), 2, torch.device("cpu"), dtype)
        # The heads of a fused QKV: not contiguous.
        args = randn(2, 5, 3, 2, 12).unbind(2)[0].detach().requires_grad_(), randn(12)

        def plain(x, weight):
            return rotate(x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * weight, table)

        return lambda x, weight: norm_rotate(x, weight, table, 1e-6, x.dtype), plain, args
    return silu_product, lambda a, b: a / (1 + (-a).exp()) * b, (randn(2, 5, 6), randn(2, 5, 6))


@pytest.mark.parametrize("name", ["norm", "rotary", "product"])
def test_elementwise_functions(name):
    ours, plain, args = problem(name)
    out, want = ours(*args), plain(*args)
    torch.testing.assert_close(out, want, atol=1e-12, rtol=1e-12)
    assert type(out.grad_fn) is not type(want.grad_fn)  # really another path
    assert torch.autograd.gradcheck(ours, args)


@pytest.mark.parametrize("name", ["norm", "rotary", "product"])
def test_elementwise_functions_step_aside(name):
    """With oneDNN off, plain torch runs, and agrees."""
    ours, _, args = problem(name)
    out = ours(*args)
    with torch.backends.mkldnn.flags(enabled=False):
        plain = ours(*args)
    assert "Backward" in type(plain.grad_fn).__name__
    assert type(plain.grad_fn) is not type(out.grad_fn)
    torch.testing.assert_close(out, plain, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ["norm", "rotary", "product"])
def test_elementwise_functions_in_bfloat16(name):
    ours, plain, args = problem(name, torch.bfloat16)
    wide = [x.detach().double().requires_grad_() for x in args]
    out, want = ours(*args), plain(*wide)
    assert out.dtype == torch.bfloat16
    grads = torch.autograd.grad(out.sum(), args), torch.autograd.grad(want.sum(), wide)
    for got, expected in [(out, want), *zip(*grads, strict=True)]:
        assert got.dtype == torch.bfloat16
        assert (got.double() - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("name", ["norm", "rotary", "product"])
@pytest.mark.parametrize("how", ["expanded", "transposed"])
def test_gradients_of_any_layout(name, how):
    ours, _, args = problem(name)
    out = ours(*args)
    probe = torch.randn(out.transpose(-1, -2).shape, dtype=out.dtype).transpose(-1, -2)
    if how == "expanded":
        probe = probe[:1, :1].expand(out.shape)
    got = torch.autograd.grad(out, args, probe, retain_graph=True)
    torch.testing.assert_close(got, torch.autograd.grad(out, args, probe.contiguous()))


@pytest.mark.parametrize("name", ["norm", "rotary", "product"])
def test_elementwise_functions_under_torch_func(name):
    """Its transforms do not know functions by hand."""
    ours, _, args = problem(name)
    want = torch.autograd.grad(ours(*args).square().sum(), args)
    plain = [x.detach() for x in args]
    got = torch.func.grad(lambda *a: ours(*a).square().sum(), argnums=tuple(range(len(args))))(*plain)
    torch.testing.assert_close(got, want)


def test_norm_of_large_half_precision_features():
    x = torch.full((1, 2, 8), 10_700.0, dtype=torch.float16)
    out = modulated_norm(x, torch.ones(1, 1, 8), torch.zeros(1, 1, 8), 1e-6, torch.float16)
    torch.testing.assert_close(out, torch.ones_like(x))


def reference_attention(q, k, v, mask):
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)


@onednn
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_attention_by_hand(monkeypatch, dtype, tolerance, masked, parts):
    """Fewer queries than keys, as in the last block; whole and in parts of unequal size."""
    monkeypatch.setattr(attention, "_WORTHWHILE", 1)
    monkeypatch.setattr(attention, "_SCORES", 10 * 14 * dtype.itemsize // parts)
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 3, 8, generator=g).to(dtype).requires_grad_() for n in (10, 14, 14))
    mask = torch.ones(2, 1, 1, 14, dtype=torch.bool)
    mask[0, ..., 11:] = False
    out = attention.attend(q, k, v, mask if masked else None)
    assert out.dtype == dtype
    assert out.shape == (2, 10, 24)
    wide = [x.detach().double().requires_grad_() for x in (q, k, v)]
    want = reference_attention(*wide, mask if masked else None)
    probe = torch.randn(out.shape, generator=g).to(dtype)
    got = torch.autograd.grad(out, (q, k, v), probe)
    expected = torch.autograd.grad(want, wide, probe.double())
    for a, b in [(out, want), *zip(got, expected, strict=True)]:
        assert (a.double() - b).abs().max() < tolerance * b.abs().max()


@onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 6])
def test_linear(bias, rows):
    torch.manual_seed(0)
    layer = Linear(5, 7, bias=bias)
    x = torch.randn(2, rows, 5, requires_grad=True)
    probe = torch.randn(2, rows, 7)
    wrt = (x, *layer.parameters())
    out = layer(x)
    got = torch.autograd.grad(out, wrt, probe)
    with torch.backends.mkldnn.flags(enabled=False):
        want = layer(x)
    assert type(want.grad_fn) is not type(out.grad_fn)
    torch.testing.assert_close(out, want)
    for a, b in zip(got, torch.autograd.grad(want, wrt, probe), strict=True):
        assert a.is_contiguous()
        torch.testing.assert_close(a, b)


@onednn
def test_linear_leaves_other_precisions_and_no_rows_to_torch():
    layer, x = Linear(5, 7), torch.randn(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer(x[:0]).shape == (0, 7)
    layer.double()
    torch.testing.assert_close(layer(x.double()), F.linear(x.double(), layer.weight, layer.bias))


def test_linear_takes_and_refuses_what_torchs_own_does():
    layer, x = Linear(5, 7), torch.randn(5, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.detach().expand(7, 5))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layer(torch.randn(3, 6))


@onednn
@pytest.mark.parametrize("layout", ["expanded", "transposed", "strided"])
def test_linear_of_any_layout(layout):
    views = {
        "expanded": lambda *shape: torch.randn(1, shape[1]).expand(shape),
        "transposed": lambda *shape: torch.randn(shape[::-1]).t(),
        "strided": lambda *shape: torch.randn(shape[0], 2 * shape[1])[:, ::2],
    }
    torch.manual_seed(0)
    layer, view = Linear(5, 7), views[layout]
    layer.weight = torch.nn.Parameter(view(7, 5))
    x, probe = view(9, 5).requires_grad_(), view(9, 7)
    wrt = (x, *layer.parameters())
    got = torch.autograd.grad(layer(x), wrt, probe)
    torch.testing.assert_close(got, torch.autograd.grad(F.linear(x, layer.weight, layer.bias), wrt, probe))


@onednn
def test_frozen_weights_get_no_gradient():
    layer = Linear(5, 7).requires_grad_(False)
    x = torch.randn(3, 5, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 5))


@onednn
@pytest.mark.parametrize("frozen", ["weight", "input", "both", "none"])
def test_only_what_a_gradient_needs_is_kept(frozen):
    layer, x = Linear(5, 7), torch.randn(3, 5)
    layer.weight.requires_grad_(frozen not in ("weight", "both"))
    x.requires_grad_(frozen not in ("input", "both"))
    kept = []

    def keep(tensor):
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = layer(x)
    shapes = {"weight": [(7, 5)], "input": [(3, 5)], "both": [], "none": [(3, 5), (7, 5)]}
    assert kept == shapes[frozen]
    out.sum().backward()
    assert (layer.weight.grad is None, x.grad is None) == (
        frozen in ("weight", "both"),
        frozen in ("input", "both"),
    )


@onednn
def test_products_are_counted():
    with FlopCounterMode(display=False) as counter:
        product(torch.randn(2, 3, 5), torch.randn(7, 5))
    assert counter.get_total_flops() == 2 * 6 * 5 * 7


def model_and_inputs():
    torch.manual_seed(0)
    model = LensTransformer(
        in_channels=12, out_channels=3, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        enc_hidden_dim=10, axes_dims_rope=(4, 6, 6), selected_layer_index=(3, 7),
    )  # fmt: skip
    tokens, features = torch.randn(2, 12, 12), [torch.randn(2, 5, 10) for _ in range(2)]
    mask, t = torch.arange(5) < torch.tensor([[5], [2]]), torch.tensor([0.2, 0.9])
    return model, (tokens, features, mask, t, (3, 4))


def gradients(model):
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@onednn
@pytest.mark.parametrize("bf16", [False, True])
def test_checkpointing_gives_the_same_gradients_bit_for_bit(monkeypatch, bf16):
    monkeypatch.setattr(attention, "_WORTHWHILE", 1)
    model, inputs = model_and_inputs()
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            model.enable_gradient_checkpointing()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(*inputs)
        out.float().square().mean().backward()
        results.append(gradients(model))
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(grad, results[1][name]) for name, grad in results[0].items())


def test_gradients_pass_through_torchs_plain_attention():
    """Whose gradients have another layout."""
    model, inputs = model_and_inputs()
    model(*inputs).square().mean().backward()
    want = gradients(model)
    with sdpa_kernel(SDPBackend.MATH):
        model(*inputs).square().mean().backward()
    torch.testing.assert_close(gradients(model), want, rtol=1e-3, atol=1e-6)


def test_model_under_torch_func():
    model, inputs = model_and_inputs()
    model(*inputs).square().mean().backward()
    want = gradients(model)

    def loss(parameters):
        return torch.func.functional_call(model, parameters, inputs).square().mean()

    got = torch.func.grad(loss)(dict(model.named_parameters()))
    torch.testing.assert_close({name: got[name] for name in want}, want, rtol=1e-3, atol=1e-6)


def test_tables_are_kept_for_many_threads_at_once(monkeypatch):
    monkeypatch.setattr(rope, "_CACHE_SIZE", 2)
    errors: list[BaseException] = []

    def ask(number):
        try:
            for n in range(1000):
                rotation((2, 4, 6), (1 + n % 7, 2 + number), n % 5, torch.device("cpu"), torch.float32)
        except BaseException as error:
            errors.append(error)

    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(pause)
    assert not errors


@onednn
def test_model_by_hand_and_plain_agree(monkeypatch):
    """Everything at once in float32, large attention included, against torch alone."""
    monkeypatch.setattr(attention, "_WORTHWHILE", 1)
    model, inputs = model_and_inputs()
    results = []
    for enabled in (True, False):
        with torch.backends.mkldnn.flags(enabled=enabled):
            out = model(*inputs)
            out.square().sum().backward()
        results.append([out.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
        model.zero_grad()
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() <= 1e-4 * (b.abs().max() + 1e-3)
