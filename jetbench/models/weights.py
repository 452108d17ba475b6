"""Weights files: their metadata, and the network that is built from one."""

from pathlib import Path

from pydantic import ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from torch import nn

from jetbench.errors import SpecError
from jetbench.files import describe_start, open_plain
from jetbench.models.build import build_model
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.base import Spec, first_problem, later
from jetbench.spec.bounds import Classes, Name, Positive, Side
from jetbench.spec.catalog import kind_of_file
from jetbench.spec.dataset import ClassSpec, Ignored

GREY_MEAN, GREY_STD = (127.5, 127.5, 127.5), (64.0, 64.0, 64.0)
"""Statistics of the channels, in 0..255, for a network without data."""


class SavedNetwork(Spec):
    """The metadata of a weights file: what is needed to rebuild the network, normalise its input and name its output.

    `class_names` is empty in files of earlier versions; `classes` and `ignore` say what the masks of the user's own
    data held.
    """

    architecture: AnyArchitecture
    num_classes: Classes
    input_size: tuple[Side, Side]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    class_names: tuple[Name, ...] = later(())
    classes: tuple[ClassSpec, ...] = later(())
    ignore: Ignored = later(())

    @model_validator(mode="after")
    def _names_every_class(self) -> "SavedNetwork":
        for given in (self.class_names, self.classes):
            if given and len(given) != self.num_classes:
                raise ValueError(f"{len(given)} names for {self.num_classes} classes")
        return self


def load_weights(path: Path | str) -> tuple[nn.Module, SavedNetwork]:
    """The network of a jetbench weights file, with its weights loaded, and the metadata of the file.

    The network maps normalised images (N, 3, H, W) to logits (N, num_classes, H, W).

    Raises:
        SpecError: the file is missing, is not a safetensors file, does not name its network, or does not fit it.
    """
    path = Path(path)
    if (other := kind_of_file(path.name)) and path.suffix != ".safetensors":
        raise SpecError(
            f"{path}: {other[0]}, without the name of a network; give a .safetensors file that jetbench saved; "
            f"{other[1]}"
        )
    if path.is_dir():
        raise SpecError(f"{path}: is a folder, not a weights file")
    try:
        with open_plain(path) as start:
            what = describe_start(start.read(64))
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such weights file") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        hint = what or "copy it again, or give a file that jetbench saved"
        raise SpecError(f"{path}: is no whole .safetensors file ({error}); {hint}") from None
    if "jetbench" not in metadata:
        raise SpecError(f"{path}: does not say which network it belongs to; use a weights file that jetbench saved")
    try:
        saved = SavedNetwork.model_validate_json(metadata["jetbench"])
        model = build_model(saved.architecture, saved.num_classes, saved.input_size)
        model.load_state_dict(tensors)
    except (ValidationError, RuntimeError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else str(error).splitlines()[0]
        raise SpecError(f"{path}: this version of jetbench cannot build its network ({reason})") from None
    return model, saved
