"""trace_operations: lists every operation that a built network runs, as PyTorch dispatches it.

This is our own counter; it runs a copy of the network. It sees functional calls as well as modules. An operation
without a rule is listed like any other, as `uncounted`, so nothing is left out silently.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from jetbench.models.activations import ACTIVATIONS
from jetbench.models.attention import CBAM, ECA, ReleasedSAM, SpatialAttention
from jetbench.models.foreign import ForeignNetwork
from jetbench.network.operations import (
    EQ2_NORM,
    INTERPOLATION_FLOPS,
    NORM_FLOPS,
    Convolution,
    Kind,
    Operation,
    Tensor,
)

ACTIVATION_MODULES = (*ACTIVATIONS.values(), nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.Sigmoid)
# The authors' tool has no hooks inside these, so equation 2 counts only their convolutions.
ATTENTION_MODULES = (CBAM, ECA, ReleasedSAM, SpatialAttention)

Clock = Callable[[], float]

COPIES = ("cat", "clone", "copy", "fill", "zeros_like", "new_zeros", "constant_pad_nd", "scatter", "stack")
# FLOPs per output element. Inside an activation module, all of them count as `activation`.
PER_ELEMENT: dict[str, tuple[Kind, int]] = {
    **dict.fromkeys(("add", "sub", "rsub", "mul", "div", "floor_divide", "maximum", "minimum"), ("elementwise", 1)),
    **dict.fromkeys(("exp", "tanh", "sigmoid", "relu"), ("activation", 1)),
    **dict.fromkeys(("silu", "leaky_relu", "hardtanh", "_prelu_kernel"), ("activation", 2)),
    "elu": ("activation", 4),
    "gelu": ("activation", 5),
    "hardswish": ("activation", 5),
    "upsample_bilinear2d": ("interpolation", INTERPOLATION_FLOPS),
    **dict.fromkeys(("native_batch_norm", "cudnn_batch_norm"), ("normalisation", NORM_FLOPS)),
    **dict.fromkeys((*COPIES, "upsample_nearest2d"), ("copy", 0)),
}


def copy_without_hooks(model: nn.Module) -> nn.Module:
    """A copy in eval mode that shares nothing with `model`; hooks on our own networks, which may act, are left out.

    Weights that a hook computes (torch's older `weight_norm` and `spectral_norm`) keep their present values.
    """
    copied = copy.deepcopy(model).eval()
    if isinstance(model, ForeignNetwork):
        return copied  # a user's network may need its own hooks, as those of transformers do
    for module in copied.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            hooks.clear()
    return copied


class Trace(NamedTuple):
    """The operations of one forward pass, and the numbers of the tensors that it returned."""

    operations: tuple[Operation, ...]
    outputs: frozenset[int]


def trace_operations(model: nn.Module, images: torch.Tensor) -> tuple[Operation, ...]:
    """The operations of `trace_network`."""
    return trace_network(model, images).operations


def image_to_trace(model: nn.Module, size: tuple[int, int]) -> torch.Tensor:
    """Zeros (1, 3, H, W) on the `meta` device, or on the CPU for a user's network, which may read values."""
    return torch.zeros(1, 3, *size, device="cpu" if isinstance(model, ForeignNetwork) else "meta")


def with_unused(operations: Sequence[Operation], model: nn.Module) -> list[Operation]:
    """The operations, and one that stands for the parameters of a user's network that no operation reads.

    So a network has as many parameters as its module, and a count says which share of them does nothing.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    unused = total - sum(operation.parameters for operation in operations)
    if unused <= 0:
        return list(operations)
    own = Operation(
        part="unused",
        layer="",
        kernel="unused",
        kind="copy",
        elements=0,
        parameters=unused,
        macs=0,
        flops=0,
        eq2=0.0,
        eq2_pooling=0,
        parameter_bytes=0,
        read_bytes=0,
        reads=(),
        makes=(),
    )
    return [*operations, own]


def trace_network(model: nn.Module, images: torch.Tensor) -> Trace:
    """Every operation of one forward pass in eval mode, for one image. Unused parameters are in no operation.

    Args:
        model: not changed, a copy is run. `layer` of an operation is the path of the module that ran it.
        images: (N, 3, H, W), of which the first is used; the model's copy is moved to their device. The `meta` device
            computes nothing and needs no memory.
    """
    return trace_own(copy_without_hooks(model).to(images.device), images)


def trace_own(model: nn.Module, images: torch.Tensor) -> Trace:
    """`trace_network` on `model` itself, which is put into eval mode and keeps our hooks: for a throw-away model."""
    tracer, outputs = _run(model, images, None)
    return Trace(tuple(tracer.operations), outputs)


def time_operations(
    model: nn.Module, images: torch.Tensor, clock: Clock
) -> tuple[tuple[Operation, ...], tuple[float, ...]]:
    """The operations of `trace_own`, and the seconds that each took.

    Args:
        model: a throw-away model.
        images: (N, 3, H, W), of which the first is used.
        clock: seconds, read with the device idle.
    """
    tracer, _ = _run(model, images, clock)
    return tuple(tracer.operations), tuple(tracer.seconds)


def _run(model: nn.Module, images: torch.Tensor, clock: Clock | None) -> "tuple[_Tracer, frozenset[int]]":
    """One traced pass, and the numbers of the tensors that it returned."""
    tracer = _Tracer(model.eval(), clock)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
            continue
        module.register_forward_pre_hook(tracer.entered(name))
        module.register_forward_hook(tracer.left, always_call=True)
    image = images[:1].clone()  # not a view: its memory would be that of the whole batch
    tracer.number(_storage(image))
    # A fused attention kernel would hide its matrix products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), tracer:
        result = model(image)
    returned = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
    return tracer, frozenset(tracer.number(_storage(tensor)) for tensor in returned)


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, model: nn.Module, clock: Clock | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.seconds: list[float] = []
        self._clock = clock
        self._modules: list[tuple[str, nn.Module]] = []
        self._numbers: dict[int, int] = {}
        self._made = 0
        self._activation_input = 0
        self._has_constants = isinstance(model, torch.jit.ScriptModule)  # weights that nothing lists
        tensors = [*model.parameters(), *model.buffers()]
        self._weights = {_storage(tensor) for tensor in tensors}
        self._unread = {_storage(parameter): parameter.numel() for parameter in model.parameters()}

    def entered(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._modules.append((name, module))
            if isinstance(module, ACTIVATION_MODULES) and not self._in_attention():
                self._activation_input = inputs[0].numel()

        return enter

    def left(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._modules.pop()
        self._activation_input = 0

    def _in_attention(self) -> bool:
        return any(isinstance(module, ATTENTION_MODULES) for _, module in self._modules)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        begin = self._clock() if self._clock else 0.0
        result = func(*args, **(kwargs or {}))
        seconds = self._clock() - begin if self._clock else 0.0
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.numel()]
        read = {_storage(tensor) for tensor in inputs}
        in_place = func._schema.is_mutable
        made = outputs if in_place else [tensor for tensor in outputs if _storage(tensor) not in read]
        if func._schema.name.endswith("batch_norm"):
            made = made[
                :1
            ]  # the others are the batch's statistics, which are empty in eval mode except on the meta device
        if made:  # otherwise the result is a view
            self._write_down(func, args, inputs, made, in_place)
            if self._clock is not None:
                self.seconds.append(seconds)
        return result

    def _write_down(
        self, func: Any, args: tuple[Any, ...], inputs: list[torch.Tensor], made: list[torch.Tensor], in_place: bool
    ) -> None:
        kernel = func._schema.name.removeprefix("aten::").rstrip("_").replace("_convolution", "convolution")
        if self._has_constants:
            self._find_constants(inputs)
        maps = [tensor for tensor in inputs if _storage(tensor) not in self._weights]
        weights = {_storage(tensor): tensor for tensor in inputs if _storage(tensor) in self._weights}
        reads = tuple(self._memory(tensor) for tensor in maps)
        makes = tuple(self._memory(tensor, new=not in_place) for tensor in made)
        if kernel == "convolution" and args[6]:
            kernel = "transposed convolution"
        kind, macs, flops = _price(kernel, args, inputs, made)
        if kind == "elementwise" and self._modules and isinstance(self._modules[-1][1], ACTIVATION_MODULES):
            kind = "activation"
        eq2, eq2_pooling = _equation_2(kernel, args, inputs, made)
        if self._activation_input:
            eq2, self._activation_input = float(self._activation_input), 0
        self.operations.append(
            Operation(
                part="",
                layer=self._modules[-1][0] if self._modules else "",
                kernel=kernel,
                kind=kind,
                elements=made[0].numel(),
                parameters=sum(self._unread.pop(key, 0) for key in weights),
                macs=macs,
                flops=flops,
                eq2=eq2,
                eq2_pooling=eq2_pooling,
                parameter_bytes=sum(tensor.nbytes for tensor in weights.values()),
                read_bytes=_read_bytes(maps),
                reads=reads,
                makes=makes,
                convolution=_shape(args, made[0]) if kernel == "convolution" else None,
            )
        )

    def _find_constants(self, inputs: list[torch.Tensor]) -> None:
        """Take for weights the inputs that no operation has made: TorchScript keeps frozen ones as constants."""
        for tensor in inputs:
            storage = _storage(tensor)
            if storage not in self._numbers and storage not in self._weights:
                self._weights.add(storage)
                self._unread[storage] = tensor.numel() if tensor.is_floating_point() else 0

    def _memory(self, tensor: torch.Tensor, new: bool = False) -> Tensor:
        return Tensor(self.number(_storage(tensor), new), tensor.untyped_storage().nbytes())

    def number(self, storage: int, new: bool = False) -> int:
        # A storage's address is reused after its tensor is deleted, so a tensor that an operation makes is always new.
        if new or storage not in self._numbers:
            self._made += 1
            self._numbers[storage] = self._made
        return self._numbers[storage]


def _shape(args: tuple[Any, ...], made: torch.Tensor) -> Convolution | None:
    x, weight, _, stride, _, dilation, _, _, groups = args[:9]
    if x.ndim != 4:
        return None
    return Convolution(
        in_channels=x.shape[1],
        out_channels=weight.shape[0],
        kernel=(weight.shape[2], weight.shape[3]),
        dilation=(dilation[0], dilation[-1]),
        stride=stride[0],
        groups=groups,
        size=(made.shape[2], made.shape[3]),
    )


def _read_bytes(maps: Sequence[torch.Tensor]) -> int:
    """Bytes of the distinct views that are read; for each storage at most its size."""
    views = {(_storage(x), x.storage_offset(), tuple(x.shape), x.stride()): x for x in maps}
    read: Counter[int] = Counter()
    for (storage, *_), view in views.items():
        read[storage] = min(read[storage] + view.nbytes, view.untyped_storage().nbytes())
    return sum(read.values())


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _price(
    kernel: str, args: tuple[Any, ...], inputs: list[torch.Tensor], made: list[torch.Tensor]
) -> tuple[Kind, int, int]:
    """Kind, MACs and FLOPs of a kernel, by the rules in `jetbench.network.operations.RULES`."""
    written = made[0].numel()
    if kernel in ("convolution", "transposed convolution"):
        x, weight, bias = args[:3]
        # A convolution applies one kernel per output element, a transposed convolution one per input element.
        macs = (written if kernel == "convolution" else x.numel()) * weight[0].numel()
        return "convolution", macs, 2 * macs + (0 if bias is None else written)
    if kernel in ("addmm", "mm", "bmm"):
        left, right = args[-2:] if kernel != "addmm" else args[1:3]
        macs = left.numel() * right.shape[-1]
        return "convolution", macs, 2 * macs + (written if kernel == "addmm" else 0)
    if kernel == "native_batch_norm" and args[5]:
        return "uncounted", 0, 0  # with the batch's own statistics: the rule is for the running statistics
    if kernel == "clamp":
        bounds = sum(bound is not None for bound in (*args[1:], None)) or 1
        return "activation", 0, bounds * written
    if kernel == "sum":
        return "elementwise", 0, inputs[0].numel() - written
    if kernel == "_adaptive_avg_pool2d":
        return "pooling", 0, prod(inputs[0].shape[:-2]) * prod(map(_window_elements, inputs[0].shape[-2:], args[1]))
    if kernel == "mean":
        return "pooling", 0, inputs[0].numel()
    if kernel in ("amax", "adaptive_max_pool2d"):
        return "pooling", 0, inputs[0].numel() - written
    if kernel in ("max_pool2d_with_indices", "avg_pool2d"):
        window = prod(args[1]) if len(args[1]) == 2 else args[1][0] ** 2
        return "pooling", 0, written * (window if kernel == "avg_pool2d" else window - 1)
    if kernel in PER_ELEMENT:
        kind, flops = PER_ELEMENT[kernel]
        return kind, 0, flops * written
    return "uncounted", 0, 0


def _window_elements(side: int, bins: int) -> int:
    """Total elements that adaptive pooling reads along one side; windows overlap if `bins` does not divide `side`."""
    return sum(-(-(number + 1) * side // bins) - number * side // bins for number in range(bins))


def _equation_2(
    kernel: str, args: tuple[Any, ...], inputs: list[torch.Tensor], made: list[torch.Tensor]
) -> tuple[float, int]:
    """The count of equation 2 as the authors' tool applies it, and what its rule for pooling would add.

    Equation 2 does not define transposed convolutions, so they count as 0.
    """
    x = inputs[0] if inputs else made[0]
    if kernel == "convolution" and x.ndim == 4:
        return args[1].numel() * prod(x.shape[2:]) / prod(args[3]), 0
    if kernel in ("addmm", "mm", "bmm"):
        return float(_price(kernel, args, inputs, made)[1]), 0
    if kernel.endswith("batch_norm"):
        return EQ2_NORM * made[0].numel(), 0
    over_the_map = kernel == "mean" and x.ndim == 4 and {axis % 4 for axis in args[1] or ()} == {2, 3}
    if kernel == "adaptive_max_pool2d" or over_the_map:
        return 0, x.numel()
    return 0, 0
