"""OpenVINO on the processor."""

from typing import Any, Dict, List

import torch

from .layers import Layer

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "u8": "int8", "i8": "int8"}


class OpenVino:
    """A file compiled by OpenVINO.

    Args:
        path: an ONNX file, or OpenVINO's own .xml with its .bin beside it.
        dtype: the hint for layers that are not quantised. By default OpenVINO takes bf16 where the processor has it,
            and f16 becomes bf16 there, too; what ran is in `Layer.precision`.
        threads: threads of the processor.
        flush_denormals: its own setting, since its threads do not have that of torch.
    """

    def __init__(self, path: str, dtype: str, threads: int, flush_denormals: bool) -> None:
        self._path = path
        self._asked = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": HINTS.get(dtype, "f32"),
            "CPU_DENORMALS_OPTIMIZATION": flush_denormals,
        }
        self._compiled = self._compile({})
        self._request = self._compiled.create_infer_request()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        # The output is the request's own memory, which the next pass overwrites.
        output = self._request.infer([images.numpy()], share_inputs=True, share_outputs=True)[0]
        return torch.from_numpy(output)

    def _compile(self, more: Dict[str, Any]) -> Any:
        import openvino

        core = openvino.Core()
        return core.compile_model(core.read_model(self._path), "CPU", dict(self._asked, **more))

    def describe(self) -> Dict[str, Any]:
        """The runtime with its version, what executes, and the options as the compiled model reports them."""
        import openvino

        read = self._compiled.get_property
        hint = str(read("INFERENCE_PRECISION_HINT")).split("'")[1:2]
        return {
            "runtime": "openvino {}".format(openvino.__version__.split("-")[0]),
            "executes": ", ".join(read("EXECUTION_DEVICES")),
            "options": {
                "PERFORMANCE_HINT": str(read("PERFORMANCE_HINT")),
                "INFERENCE_PRECISION_HINT": "{}, asked {}".format(
                    "".join(hint), self._asked["INFERENCE_PRECISION_HINT"]
                ),
                "threads": str(read("INFERENCE_NUM_THREADS")),
                "streams": str(read("NUM_STREAMS")),
                "CPU_DENORMALS_OPTIMIZATION": str(read("CPU_DENORMALS_OPTIMIZATION")),
            },
        }

    def list_layers(self, images: torch.Tensor, passes: int) -> List[Layer]:
        """The layers that run for these images, with their times, from a compiled model of its own that is profiled."""
        compiled = self._compile({"PERF_COUNT": True})
        precisions, layouts = {}, {}  # type: Dict[str, str], Dict[str, str]
        for node in compiled.get_runtime_model().get_ordered_ops():
            facts = node.get_rt_info()
            if "runtimePrecision" in facts:
                word = str(facts["runtimePrecision"].value)
                precisions[node.get_friendly_name()] = PRECISIONS.get(word, word)
            if "outputLayouts" in facts:
                layouts[node.get_friendly_name()] = layout_of(str(facts["outputLayouts"].value))
        request, layers = compiled.create_infer_request(), {}  # type: Any, Dict[str, Layer]
        for number in range(-1, passes):
            request.infer([images.numpy()], share_inputs=True, share_outputs=True)
            for each in request.profiling_info if number >= 0 else ():  # the first pass also reserves memory
                if str(each.status).endswith("NOT_RUN"):
                    continue
                name = each.node_name
                if name not in layers:
                    precision = precisions.get(name, "none")
                    layout = layouts.get(name, "unknown")
                    layers[name] = Layer(name, each.node_type, precision, each.exec_type, [0.0] * passes, layout)
                layers[name].seconds[number] += each.real_time.total_seconds()
        return list(layers.values())


def layout_of(word: str) -> str:
    """`abcd` names the axes of a tensor from the outermost to the innermost; a capital is one that is cut in blocks."""
    if word.lower() != word:
        return "blocked"
    axes = [letter for letter in word if letter.isalpha()]
    if axes == sorted(axes):
        return "channels first"
    return "channels last" if axes[-1] == "b" else word
