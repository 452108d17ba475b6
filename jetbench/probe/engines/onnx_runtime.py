"""ONNX Runtime on the processor."""

import json
import os
import shutil
import tempfile
from typing import Any, Dict, List

import torch

from .layers import Layer

PROVIDER = "CPUExecutionProvider"
PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}
WEIGHT = 3  # of the inputs of QLinearConv
FAILURES = 3  # of its log levels: errors; below are notices on stderr


class OnnxRuntime:
    """An ONNX file in a session of ONNX Runtime.

    Args:
        path: the file.
        dtype: of the file; the session computes in the types that the file has.
        threads: threads within an operation; operations run one after another.
        flush_denormals: the session's own setting, since its threads do not have that of torch.
    """

    def __init__(self, path: str, dtype: str, threads: int, flush_denormals: bool) -> None:
        self._path, self._options = path, (threads, flush_denormals)
        self._session = self._open()
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._session.run(None, {self._input: images.numpy()})[0])

    def _open(self, profile: str = "") -> Any:
        import onnxruntime

        threads, _ = self._options
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = FAILURES
        for key, value in self._entries().items():
            options.add_session_config_entry(key, value)
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        return onnxruntime.InferenceSession(self._path, options, providers=[PROVIDER])

    def _entries(self) -> Dict[str, str]:
        threads, flush_denormals = self._options
        # Threads that wait by spinning take the cores of other programs; with one thread there is nobody to wait.
        return {
            "session.set_denormal_as_zero": str(int(flush_denormals)),
            "session.intra_op.allow_spinning": str(int(threads == 1)),
        }

    def describe(self) -> Dict[str, Any]:
        """The runtime with its version, what executes, and the options of the session."""
        import onnxruntime

        return {
            "runtime": "onnxruntime {}".format(onnxruntime.__version__),
            "executes": ", ".join(self._session.get_providers()),
            "options": dict(self._entries(), threads=str(self._options[0]), graph_optimisation="all"),
        }

    def list_layers(self, images: torch.Tensor, passes: int) -> List[Layer]:
        """The layers that run for these images, with their times, from a session of its own that is profiled."""
        folder = tempfile.mkdtemp(prefix="jetbench-ort-")
        try:
            session = self._open(os.path.join(folder, "profile"))
            for _ in range(passes + 1):
                session.run(None, {self._input: images.numpy()})
            with open(session.end_profiling(), encoding="utf-8") as file:
                events = json.load(file)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        layers = {}  # type: Dict[str, Layer]
        for event in events:
            if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
                continue
            given = event["args"]
            index = given.get("node_index", event["name"])  # ONNX Runtime 1.10, of JetPack 4, has no index
            if index not in layers:
                name = event["name"][: -len("_kernel_time")]
                layers[index] = Layer(
                    name, given["op_name"], _precision(given), given["provider"], [], layout_of(name, given)
                )
            layers[index].seconds.append(event["dur"] / 1e6)
        for layer in layers.values():
            del layer.seconds[0]  # the first pass also reserves memory
        return list(layers.values())


def _precision(given: Dict[str, Any]) -> str:
    """The number format of the first input of a node, which is a list of one mapping of type to shape per input."""
    types = [kind for each in given.get("input_type_shape", []) for kind in each]
    return PRECISIONS.get(types[0], types[0]) if types else "none"


def layout_of(name: str, given: Dict[str, Any]) -> str:
    """The order of a node's output in memory.

    The runtime ends the names of nodes that it moved to blocks of channels with `nchwc`. Of its own convolutions of
    int8 it moves most to channels last; those tell only by their shapes.
    """
    if name.endswith("_nchwc"):
        return "blocked"
    if given["op_name"] != "QLinearConv":
        return "channels first"
    if "input_type_shape" not in given:  # of ONNX Runtime 1.10
        return "unknown"
    inputs, outputs = (
        [next(iter(each.values())) for each in given[key]] for key in ("input_type_shape", "output_type_shape")
    )
    channels, shape = inputs[WEIGHT][0], outputs[0]
    if shape[1] == shape[-1]:
        return "unknown"
    return "channels last" if shape[-1] == channels else "channels first"
