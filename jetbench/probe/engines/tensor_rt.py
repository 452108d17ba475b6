"""TensorRT on an NVIDIA GPU: runs an engine that was built on this machine (build_engine.py).

What a version has is asked with `hasattr`, never by its number. Never run on TensorRT itself yet: tests run it on a
stand-in that has the attributes of each version and computes the file in ONNX Runtime.
"""

import json
import os
import re
from typing import Any, Dict, List, Optional, Tuple

import torch

from .. import machine
from .layers import Layer

UNTRIED = "never on TensorRT itself yet"
"""What every record of an engine says until somebody has run this on one."""
LAYOUTS = (
    ("vectorized", "blocked"),
    ("channel major", "channels last"),
    ("hwc", "channels last"),
    ("row major", "channels first"),
    ("linear", "channels first"),
)


def device_here() -> torch.device:
    """The GPU; the processor where there is none, which only a stand-in of TensorRT runs on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_gpu() -> Tuple[str, str]:
    """The name of the GPU, and its compute capability with its multiprocessors, such as `8.7x16`.

    An engine runs on no other: modules of one name differ in their multiprocessors, and power modes switch some off.
    """
    if not torch.cuda.is_available():
        return "no GPU", "none"
    count = torch.cuda.get_device_properties(0).multi_processor_count
    return torch.cuda.get_device_name(), "{}.{}x{}".format(*torch.cuda.get_device_capability(), count)


def plan_of(path: str, dtype: str) -> str:
    """The path of the engine of an ONNX file in a number format, for the TensorRT and the GPU of this machine.

    An engine is tuned at the clocks of a power mode, so that is in its name, too.
    """
    import tensorrt

    parts = filter(None, (tensorrt.__version__, describe_gpu()[1], machine.power_mode(), dtype))
    return "{}.{}.plan".format(os.path.splitext(path)[0], "-".join(parts))


def read_facts(plan: str) -> Dict[str, Any]:
    """The facts of the build of an engine, which lie beside it."""
    with open(plan + ".json", encoding="utf-8") as file:
        return dict(json.load(file))


def file_format(dtype: str) -> str:
    """The number format of the file of which an engine is built: int8 is in the file, and fp16 from TensorRT 11."""
    if dtype != "fp16":
        return dtype
    import tensorrt

    return "fp32" if hasattr(tensorrt.BuilderFlag, "FP16") else "fp16"


def quiet_log(lines: Optional[List[str]] = None) -> Any:
    """A logger of TensorRT that prints nothing, and keeps warnings and errors in `lines`."""
    import tensorrt

    class Log(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if lines is not None and severity in (self.WARNING, self.ERROR, self.INTERNAL_ERROR):
                lines.append("{}: {}".format(str(severity).split(".")[-1].lower(), message))

    return Log()


class TensorRt:
    """The engine of an ONNX file.

    Args:
        path: the ONNX file; its engine lies beside it.
        dtype: the number format that the engine was built for; what a layer got is in `Layer.precision`.
        threads: of no effect.
        flush_denormals: of no effect: TensorRT has no such setting.

    Raises:
        RuntimeError: there is no engine for this machine, or this TensorRT cannot read it.
    """

    def __init__(self, path: str, dtype: str, threads: int, flush_denormals: bool) -> None:
        import tensorrt

        self._trt = tensorrt
        plan = plan_of(path, dtype)
        if not os.path.isfile(plan):
            raise RuntimeError("{}: no engine for this GPU and TensorRT; an engine is built where it runs".format(plan))
        lines = []  # type: List[str]
        self._log = quiet_log(lines)  # TensorRT holds no reference to it
        with open(plan, "rb") as file:
            self._runtime = tensorrt.Runtime(self._log)
            self._engine = self._runtime.deserialize_cuda_engine(file.read())
        if self._engine is None:
            raise RuntimeError("{}: TensorRT cannot read this engine ({})".format(plan, "; ".join(lines[-1:])))
        self._facts = read_facts(plan)
        self._device = device_here()
        self._context = self._engine.create_execution_context()
        self._names, self._input, self._output = self._buffers()
        stream = torch.cuda.Stream  # type: Any
        self._stream = stream() if self._device.type == "cuda" else None  # type: Any

    def _buffers(self) -> Tuple[List[str], torch.dtype, torch.Tensor]:
        """The names of input and output in the engine's order, the input's number format, and the output's memory."""
        engine, kinds = self._engine, self._types()
        if hasattr(engine, "num_io_tensors"):
            names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
            inputs = [engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names]
            shapes = [tuple(engine.get_tensor_shape(name)) for name in names]
            types = [kinds[engine.get_tensor_dtype(name)] for name in names]
        else:
            names = [engine.get_binding_name(number) for number in range(engine.num_bindings)]
            inputs = [engine.binding_is_input(number) for number in range(len(names))]
            shapes = [tuple(engine.get_binding_shape(number)) for number in range(len(names))]
            types = [kinds[engine.get_binding_dtype(number)] for number in range(len(names))]
        if sorted(inputs) != [False, True]:
            raise RuntimeError("the engine has {} inputs and outputs, expected one of each".format(len(names)))
        at = inputs.index(False)
        output = torch.empty(shapes[at], dtype=types[at], device=self._device)
        return names, types[inputs.index(True)], output

    def _types(self) -> Dict[Any, torch.dtype]:
        pairs = (("float32", torch.float32), ("float16", torch.float16), ("int8", torch.int8), ("int32", torch.int32))
        kinds = {getattr(self._trt, name): kind for name, kind in pairs}
        if hasattr(self._trt, "int64"):
            kinds[self._trt.int64] = torch.int64
        return kinds

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        # The output is the engine's own memory, which the next pass overwrites.
        images = images.to(device=self._device, dtype=self._input).contiguous()
        if self._stream is None:
            done = self._context.execute_v2(self._addresses(images))
        else:
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)  # the images may not be there yet
            done = self._enqueue(images, self._stream)
            images.record_stream(self._stream)
            current.wait_stream(self._stream)
        if done is False:
            raise RuntimeError("TensorRT refused to run the engine")
        return self._output

    def launch(self, images: torch.Tensor) -> torch.Tensor:
        """Launch a pass on the current stream, as a CUDA graph captures it; `images` must keep their memory."""
        if images.dtype != self._input or not images.is_contiguous():
            raise RuntimeError("a CUDA graph takes contiguous images in the number format of the engine")
        if self._enqueue(images, torch.cuda.current_stream()) is False:
            raise RuntimeError("TensorRT refused to run the engine")
        return self._output

    def _addresses(self, images: torch.Tensor) -> List[int]:
        own, other = images.data_ptr(), self._output.data_ptr()
        return [own if self._is_input(name) else other for name in self._names]

    def _is_input(self, name: str) -> bool:
        if hasattr(self._engine, "get_tensor_mode"):
            return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)
        return bool(self._engine.binding_is_input(self._names.index(name)))

    def _enqueue(self, images: torch.Tensor, on: Any) -> Any:
        addresses, stream = self._addresses(images), on.cuda_stream
        if not hasattr(self._context, "execute_async_v3"):
            return self._context.execute_async_v2(addresses, stream)
        for number, name in enumerate(self._names):
            self._context.set_tensor_address(name, addresses[number])
        return self._context.execute_async_v3(stream)

    def describe(self) -> Dict[str, Any]:
        """The runtime with its version, what executes, the options of the build, and the engine."""
        gpu, _ = describe_gpu()
        return {
            "runtime": "tensorrt {}".format(self._trt.__version__),
            "executes": gpu,
            "options": {"workspace": "{} MiB".format(self._facts["workspace_mib"]), "tf32": "off", "tried": UNTRIED},
            "engine": self._facts,
        }

    def list_layers(self, images: torch.Tensor, passes: int) -> List[Layer]:
        """The layers of the engine with their times, from a context of its own that is profiled, which slows it."""
        times = {}  # type: Dict[str, List[float]]

        class Profiler(self._trt.IProfiler):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                self.number = -1
                super().__init__()

            def report_layer_time(self, name: str, milliseconds: float) -> None:
                if self.number >= 0:
                    times.setdefault(name, [0.0] * passes)[self.number] += milliseconds / 1e3

        context, profiler = self._engine.create_execution_context(), Profiler()
        context.profiler = profiler
        images = images.to(device=self._device, dtype=self._input).contiguous()
        for number in range(-1, passes):  # the first pass also reserves memory
            profiler.number = number
            context.execute_v2(self._addresses(images))
        facts = {each["Name"]: each for each in self._inspect() if isinstance(each, dict)}
        gpu, _ = describe_gpu()
        layers = []
        for name, seconds in times.items():
            layers.append(layer_of(name, facts.get(name, {}), gpu, seconds))
        return layers

    def _inspect(self) -> List[Any]:
        inspector = self._engine.create_engine_inspector()
        text = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        return list(json.loads(text).get("Layers", ()))


def layer_of(name: str, facts: Dict[str, Any], where: str, seconds: List[float]) -> Layer:
    """A layer by what an inspector says of it, in the dialect of any version."""
    # A kernel that computes with int8 may write fp16: its inputs say what it computes with.
    computes, writes = _words_of(facts.get("Inputs")), _words_of(facts.get("Outputs"))
    made_of = _origin_of(name, str(facts.get("Metadata", "")))
    kind = str(facts.get("LayerType", "unknown"))
    return Layer(made_of, kind, precision_of(computes or writes), where, seconds, layout_of(writes))


def _words_of(tensors: Optional[List[Dict[str, Any]]]) -> str:
    """What an inspector says of the first tensor: one field to TensorRT 10, two from 11."""
    first = tensors[0] if tensors else {}
    one = first.get("Format/Datatype")
    return str(one) if one is not None else "{} {}".format(first.get("DataType", ""), first.get("Format", "")).strip()


def _origin_of(name: str, metadata: str) -> str:
    """The node that a layer was made of: in its name, or in the metadata of one that TensorRT named itself."""
    match = re.search(r"\[ONNX Layer: ([^\]]+)\]", metadata)
    return name if "/" in name or match is None else match.group(1)


def precision_of(words: str) -> str:
    """The number format in what an inspector says: `Row major linear FP16 format` to 8.6, `Half` from 10."""
    words = words.lower()
    for name, spellings in (
        ("bf16", ("bf16", "bfloat16")),
        ("fp16", ("fp16", "half")),
        ("fp32", ("fp32", "float")),
        ("int8", ("int8",)),
    ):
        if any(each in words for each in spellings):
            return name
    return words or "unknown"


def layout_of(words: str) -> str:
    """The order of memory in what an inspector says; `unknown` where it tells the number format alone."""
    return next((layout for part, layout in LAYOUTS if part in words.lower()), "unknown")
