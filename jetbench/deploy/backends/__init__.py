"""Backends: what runs a network, one file each."""

from importlib.util import find_spec

from jetbench.deploy.backends.base import Runtime, TorchForm
from jetbench.deploy.backends.compiled import COMPILED
from jetbench.deploy.backends.eager import EAGER
from jetbench.deploy.backends.folded import FOLDED
from jetbench.deploy.backends.onnx_runtime import ONNXRUNTIME
from jetbench.deploy.backends.open_vino import OPENVINO
from jetbench.deploy.backends.tensor_rt import TENSORRT
from jetbench.deploy.backends.traced import TRACED
from jetbench.errors import SpecError
from jetbench.spec.profiling import FileBackend, ProfilingConfig, TorchBackend

__all__ = ["RUNTIMES", "TORCH_FORMS", "Runtime", "TorchForm", "check_backend", "check_installed"]

TORCH_FORMS: dict[TorchBackend, TorchForm] = {form.name: form for form in (EAGER, FOLDED, COMPILED, TRACED)}
RUNTIMES: dict[FileBackend, Runtime] = {runtime.name: runtime for runtime in (ONNXRUNTIME, OPENVINO, TENSORRT)}


def check_installed(config: ProfilingConfig) -> None:
    """Raise if the packages that a setting's backend needs are not installed.

    Raises:
        SpecError: the message says which, and how to install them.
    """
    missing = RUNTIMES[config.file_backend].missing() if config.runs_file else None
    if missing is not None:
        raise SpecError(f"{config.backend}: {missing.reason}: {missing.remedy}")
    if config.form == "openvino int8" and find_spec("nncf") is None:
        raise SpecError("openvino int8: nncf not installed: pip install 'jetbench[quantise]'")


def check_backend(config: ProfilingConfig, torch_device: str) -> None:
    """Raise if the backend of a setting cannot run on this machine.

    Raises:
        SpecError: its packages are not installed, or it has no way to run on that device.
    """
    if config.cuda_graph and not torch_device.startswith("cuda"):
        raise SpecError("--cuda-graph: needs an NVIDIA GPU, and the profile is of a processor; leave it out")
    if not config.runs_file:
        return
    check_installed(config)
    where = RUNTIMES[config.file_backend].device
    if where == "cpu" != torch_device:
        raise SpecError(
            f"{config.backend}: runs on the processor only, and the profile is of a GPU; name the processor with "
            "--device cpu, or another backend"
        )
    if where == "cuda" and not torch_device.startswith("cuda"):
        raise SpecError(
            f"{config.backend}: runs on an NVIDIA GPU only, and the profile is of a processor; take onnxruntime or "
            "openvino here"
        )
