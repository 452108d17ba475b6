"""Folded: the same operations of PyTorch, fewer of them. Exact, by algebra.

A network in eval mode is traced to a graph of operations. Batch norm is folded into the convolution before it, an
addition of a convolution's own input into its kernel, and elementwise operations write into an operand that nothing
else reads.
"""

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from jetbench.deploy.backends.base import TorchForm

_aten: Any = torch.ops.aten
NORM = _aten.native_batch_norm.default
CONVOLUTION = _aten.convolution.default
IN_PLACE: dict[Any, Any] = {
    _aten.relu.default: _aten.relu_.default,
    _aten.exp.default: _aten.exp_.default,
    _aten.tanh.default: _aten.tanh_.default,
    _aten.sigmoid.default: _aten.sigmoid_.default,
    _aten.clamp.default: _aten.clamp_.default,
    _aten.hardtanh.default: _aten.hardtanh_.default,
    _aten.hardswish.default: _aten.hardswish_.default,
    _aten.hardsigmoid.default: _aten.hardsigmoid_.default,
    _aten.leaky_relu.default: _aten.leaky_relu_.default,
    _aten.elu.default: _aten.elu_.default,
    _aten.silu.default: _aten.silu_.default,
}
COMMUTATIVE: dict[Any, Any] = {_aten.mul.Tensor: _aten.mul_.Tensor, _aten.add.Tensor: _aten.add_.Tensor}
FRESH = {
    CONVOLUTION,
    NORM,
    *IN_PLACE,
    *COMMUTATIVE,
    _aten.cat.default,
    _aten.max_pool2d_with_indices.default,
    _aten.avg_pool2d.default,
    _aten.upsample_bilinear2d.default,
    _aten.upsample_nearest2d.default,
    _aten.mean.dim,
    _aten._prelu_kernel.default,
}
"""Operations whose result is memory of their own, so that it may be overwritten."""


def fold(network: nn.Module, images: Tensor) -> fx.GraphModule:
    """The folded graph of a network, for batches of the shape, type and device of `images`.

    Args:
        network: in eval mode; it is not changed.
        images: (N, 3, H, W).
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    # In inference mode a trace holds smaller operations, of which some take twice as long.
    with torch.inference_mode(False), torch.no_grad():
        plain, example = copy.deepcopy(network), images.clone()
        traced: fx.GraphModule = make_fx(plain)(example)
        traced.graph.eliminate_dead_code()
        _fold_norms(traced)
        _fold_shortcuts(traced)
        traced.graph.eliminate_dead_code()
        _write_in_place(traced)
        _drop_unused(traced)
        traced.graph.lint()
        traced.recompile()
    return traced


def _constant(traced: fx.GraphModule, node: Any) -> Tensor | None:
    """The tensor of a node that holds a weight; None for any other."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = traced
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value if isinstance(value, Tensor) else None


def _set(traced: fx.GraphModule, before: fx.Node, name: str, tensor: Tensor) -> fx.Node:
    """A node that holds a new weight, ahead of `before`."""
    name = f"_folded_{name}"
    traced.register_buffer(name, tensor)
    with traced.graph.inserting_before(before):
        return traced.graph.get_attr(name)


def _fold_norms(traced: fx.GraphModule) -> None:
    """Y = (Wx + b - mean) / sqrt(var + eps) * gamma + beta, as one convolution with other weights."""
    for node in list(traced.graph.nodes):
        if node.target is not NORM or node.args[5]:  # of training
            continue
        convolution, epsilon = node.args[0], node.args[7]
        gamma, beta, mean, variance = (_constant(traced, each) for each in node.args[1:5])
        outputs = list(node.users)
        if (
            not _is_foldable(traced, convolution)
            or mean is None
            or variance is None
            or any(user.target is not operator.getitem or user.args[1] != 0 for user in outputs)
        ):
            continue
        weight, bias = (_constant(traced, each) for each in convolution.args[1:3])
        assert weight is not None
        scale = (variance.double() + epsilon).rsqrt()
        scale = scale * gamma.double() if gamma is not None else scale
        is_transposed, groups = convolution.args[6], convolution.args[8]
        new = weight.double() * _by_output(scale, weight, is_transposed, groups)
        shift = ((bias.double() if bias is not None else 0.0) - mean.double()) * scale
        shift = shift + beta.double() if beta is not None else shift
        args = list(convolution.args)
        args[1] = _set(traced, convolution, f"{convolution.name}_weight", new.to(weight.dtype))
        args[2] = _set(traced, convolution, f"{convolution.name}_bias", shift.to(weight.dtype))
        convolution.args = tuple(args)
        for user in outputs:
            user.replace_all_uses_with(convolution)
            traced.graph.erase_node(user)
        traced.graph.erase_node(node)


def _is_foldable(traced: fx.GraphModule, node: Any) -> bool:
    """True for a convolution with constant weights whose result has one reader."""
    return (
        isinstance(node, fx.Node)
        and node.target is CONVOLUTION
        and len(node.users) == 1
        and _constant(traced, node.args[1]) is not None
        and (node.args[2] is None or _constant(traced, node.args[2]) is not None)
    )


def _by_output(scale: Tensor, weight: Tensor, is_transposed: bool, groups: int) -> Tensor:
    """A factor per output channel in the shape in which it multiplies the weights."""
    if not is_transposed:
        return scale.view(-1, 1, 1, 1)
    # (in, out / groups, h, w): the output channel depends on the group of the input channel.
    per_group = scale.view(groups, -1)
    return per_group.repeat_interleave(weight.shape[0] // groups, dim=0).view(weight.shape[0], -1, 1, 1)


def _fold_shortcuts(traced: fx.GraphModule) -> None:
    """conv(x) + x as one convolution, whose kernel has 1 added at its middle, from each channel to itself."""
    for node in list(traced.graph.nodes):
        if node.target is not _aten.add.Tensor or node.kwargs:
            continue
        for convolution, other in (node.args, node.args[::-1]):
            if not _is_foldable(traced, convolution) or convolution.args[0] is not other:
                continue
            weight, groups = _constant(traced, convolution.args[1]), convolution.args[8]
            assert weight is not None
            if convolution.args[6] or not _keeps_shape(convolution, other) or any(s % 2 == 0 for s in weight.shape[2:]):
                continue
            new, per_group = weight.clone(), weight.shape[0] // groups
            for channel in range(weight.shape[0]):
                new[channel, channel % per_group, weight.shape[2] // 2, weight.shape[3] // 2] += 1
            args = list(convolution.args)
            args[1] = _set(traced, convolution, f"{convolution.name}_with_shortcut", new)
            convolution.args = tuple(args)
            node.replace_all_uses_with(convolution)
            traced.graph.erase_node(node)
            break


def _keeps_shape(convolution: fx.Node, other: fx.Node) -> bool:
    """True if a convolution's output has the shape of its input, pixel by pixel."""
    ours, theirs = convolution.meta["val"], other.meta["val"]
    stride: Any = convolution.args[3]
    return ours.shape == theirs.shape and all(step == 1 for step in stride)


def _drop_unused(traced: fx.GraphModule) -> None:
    """Let go of the weights that are folded into others."""
    read = {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}
    for name in [name for names in (traced._parameters, traced._buffers) for name in names if name not in read]:
        delattr(traced, name)


def _write_in_place(traced: fx.GraphModule) -> None:
    """Let elementwise operations overwrite an operand that is fresh, has no other reader, and has the result's form."""
    # An operation that the network's own code does in place may write into a view; one of ours never does.
    ours: set[fx.Node] = set()
    for node in traced.graph.nodes:
        if node.op != "call_function":
            continue
        before = node.target
        if node.target in IN_PLACE and _may_overwrite(node.args[0], node, ours):
            node.target = IN_PLACE[node.target]
        elif node.target in COMMUTATIVE and not node.kwargs:
            first, second = node.args
            if _may_overwrite(first, node, ours):
                node.target = COMMUTATIVE[node.target]
            elif _may_overwrite(second, node, ours):
                node.target, node.args = COMMUTATIVE[node.target], (second, first)
        if node.target is not before:
            ours.add(node)


def _may_overwrite(operand: Any, node: fx.Node, ours: set[fx.Node]) -> bool:
    if not isinstance(operand, fx.Node) or operand.op != "call_function" or len(operand.users) != 1:
        return False
    source = operand.args[0] if operand.target is operator.getitem else operand
    if not isinstance(source, fx.Node) or (source.target not in FRESH and source not in ours):
        return False
    one, other = operand.meta.get("val"), node.meta.get("val")
    return (
        isinstance(one, Tensor)
        and isinstance(other, Tensor)
        and one.shape == other.shape
        and one.dtype == other.dtype
        and one.stride() == other.stride()
    )


FOLDED = TorchForm("folded", fold, keeps_module=False)
