"""load_beginning: begin a training from the weights of a file, tensor by tensor, by name and shape."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from jetbench.errors import SpecError
from jetbench.files import describe_start, digest_of, open_plain
from jetbench.records.record import Initialisation

INSIDE = ("state_dict", "model_state_dict", "model", "network", "weights")
"""Keys under which training scripts keep a state dict."""
WRAPPED = "network."
"""What our wrapper of a user's network writes before the names of its tensors."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What wrappers write before every name."""


def load_beginning(model: nn.Module, path: Path) -> Initialisation:
    """Copy the tensors of a file to those of `model` that have the same name and shape; the others stay as they are.

    A prefix that all names have (`module.`) is left out.

    Args:
        model: the network, changed in place.
        path: a .safetensors file, or a state dict that torch saved; nothing but tensors is ever unpickled.

    Raises:
        SpecError: the file cannot be read, holds no state dict, or has no tensor that fits.
    """
    tensors = read_tensors(path)
    own = model.state_dict()
    if not any(name in own for name in tensors) and any(f"{WRAPPED}{name}" in own for name in tensors):
        tensors = {f"{WRAPPED}{name}": tensor for name, tensor in tensors.items()}
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise SpecError(
            f"training.init: {path}: none of its {len(tensors)} tensors has the name and shape of one of the network's "
            f"{len(own)}, such as {next(iter(own))}"
        )
    model.load_state_dict({**own, **fitting})
    return Initialisation(
        file=path.name,
        digest=digest_of(path)[:12],
        loaded=len(fitting),
        left_out=tuple(name for name in own if name not in fitting),
        unused=tuple(name for name in tensors if name not in fitting),
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name.

    Raises:
        SpecError: the file cannot be read, or holds no state dict.
    """
    try:
        with open_plain(path) as start:
            what = describe_start(start.read(64))
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except FileNotFoundError:
        raise SpecError(f"training.init: {path}: no such weights file") from None
    except OSError as error:
        raise SpecError(f"training.init: {path}: cannot be read ({error.strerror or error})") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = what or str(error).splitlines()[0][:200]
        raise SpecError(
            f"training.init: {path}: is no .safetensors file and no state dict of tensors alone ({reason}); save "
            "model.state_dict() with torch.save"
        ) from None
    for key in INSIDE:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    tensors = (
        {str(name): each for name, each in loaded.items() if isinstance(each, Tensor)}
        if isinstance(loaded, Mapping)
        else {}
    )
    if not tensors:
        raise SpecError(f"training.init: {path}: holds no tensors by name; save model.state_dict() with torch.save")
    prefix = next((each for each in PREFIXES if all(name.startswith(each) for name in tensors)), "")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _unpickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
