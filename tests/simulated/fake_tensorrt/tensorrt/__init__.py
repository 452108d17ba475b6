# mypy: ignore-errors
"""A stand-in for TensorRT: the attributes of one version, and the file computed in ONNX Runtime on the processor.

FAKE_TENSORRT names the version: 8.2.1, 8.5.2, 8.6.2, 10.3.0, 10.16.2 or 11.4.0. FAKE_TENSORRT_FAULT makes one go
wrong: `killed` (the kernel ends the build), `refused` (a pass is refused), `memory` (a tactic is skipped), `no int8`,
`no engine`.
It is no TensorRT: times are those of ONNX Runtime, and fp16 only rounds the output.
"""

import io
import json
import os
import signal

import numpy as np

__version__ = os.environ.get("FAKE_TENSORRT", "10.3.0")
_V = tuple(int(part) for part in __version__.split(".")[:2])
_FAULT = os.environ.get("FAKE_TENSORRT_FAULT", "")
_OPSETS = {(8, 2): 13, (8, 5): 17, (8, 6): 17, (10, 3): 20, (10, 16): 24, (11, 4): 25}
_TAG = "FAKETRT "


class _Enum(int):
    def __new__(cls, name, value):
        made = int.__new__(cls, value)
        made.name = name
        return made

    def __repr__(self):
        return self.name

    __str__ = __repr__


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = (
        _Enum("Severity." + name, n) for n, name in enumerate(("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"))
    )

    def __init__(self):
        pass


class IProfiler:
    def __init__(self):
        pass


float32, float16, int8, int32 = (_Enum("DataType." + n, i) for i, n in enumerate(("FLOAT", "HALF", "INT8", "INT32")))
if _V >= (10, 0):
    int64 = _Enum("DataType.INT64", 8)


class LayerInformationFormat:
    ONELINE, JSON = _Enum("ONELINE", 0), _Enum("JSON", 1)


class ProfilingVerbosity:
    LAYER_NAMES_ONLY, NONE, DETAILED = (_Enum(n, i) for i, n in enumerate(("LAYER_NAMES_ONLY", "NONE", "DETAILED")))


class BuilderFlag:
    TF32 = _Enum("TF32", 7)
    if _V < (11, 0):
        FP16, INT8 = _Enum("FP16", 0), _Enum("INT8", 1)


class NetworkDefinitionCreationFlag:
    if _V < (11, 0):
        EXPLICIT_BATCH = _Enum("EXPLICIT_BATCH", 0)
    if (10, 0) <= _V < (11, 0):
        STRONGLY_TYPED = _Enum("STRONGLY_TYPED", 1)
    if _V >= (11, 0):
        STRONGLY_TYPED = _Enum("STRONGLY_TYPED", 0)


if _V >= (8, 4):

    class MemoryPoolType:
        WORKSPACE = _Enum("WORKSPACE", 0)


if _V >= (8, 5):

    class TensorIOMode:
        NONE, INPUT, OUTPUT = _Enum("NONE", 0), _Enum("INPUT", 1), _Enum("OUTPUT", 2)


class _TimingCache:
    def __init__(self, data):
        self.data = data

    def serialize(self):
        return b"cache of " + __version__.encode()


class _Config:
    def __init__(self):
        self.flags, self.profiling_verbosity, self._cache = {"TF32"}, ProfilingVerbosity.LAYER_NAMES_ONLY, None
        if _V < (10, 0):
            self.max_workspace_size = 0
        if _V >= (8, 4):
            self.set_memory_pool_limit = lambda pool, size: None

    def set_flag(self, flag):
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def create_timing_cache(self, data):
        return _TimingCache(data)

    def set_timing_cache(self, cache, ignore_mismatch):
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


class _Network:
    def __init__(self, flags):
        self.flags, self.data = flags, None


class _ParserError:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

    __str__ = __repr__


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._errors = network, []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, number):
        return self._errors[number]

    def parse(self, data):
        import onnx

        if _V < (10, 0) and not self._network.flags & 1:
            self._errors.append(_ParserError("This version of the ONNX parser only supports explicit batch networks"))
            return False
        model = onnx.load(io.BytesIO(data))
        opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
        if opset > _OPSETS[_V]:
            self._errors.append(_ParserError(f"opset {opset} is newer than {_OPSETS[_V]}"))
            return False
        self._network.data = data
        return True


class Builder:
    def __init__(self, logger):
        self._logger = logger
        if _V < (11, 0):
            self.platform_has_fast_fp16, self.platform_has_fast_int8 = True, _FAULT != "no int8"

    def create_network(self, flags=0):
        return _Network(flags)

    def create_builder_config(self):
        return _Config()

    def build_serialized_network(self, network, config):
        if _FAULT == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if _FAULT == "no engine":
            self._logger.log(ILogger.ERROR, "10: Could not find any implementation for node Conv_0.")
            return None
        if _FAULT == "memory":
            self._logger.log(
                ILogger.WARNING,
                "Tactic Device request: 2168MB Available: 1536MB. Device memory is insufficient. Skipping tactic 3.",
            )
        head = {"version": __version__, "flags": sorted(config.flags)}
        head["detailed"] = config.profiling_verbosity == ProfilingVerbosity.DETAILED
        return (_TAG + json.dumps(head) + "\n").encode() + network.data


class Runtime:
    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, data):
        head, _, model = data.partition(b"\n")
        facts = json.loads(head.decode()[len(_TAG) :])
        if facts["version"] != __version__:
            self._logger.log(ILogger.ERROR, "Version tag does not match. Note: Current Version: " + __version__)
            return None
        return _Engine(facts, model)


class _Engine:
    def __init__(self, facts, data):
        import onnx
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.facts, self.graph = facts, onnx.load(io.BytesIO(data)).graph
        given, made = self.session.get_inputs()[0], self.session.get_outputs()[0]
        self.tensors = [(given.name, tuple(given.shape), True), (made.name, tuple(made.shape), False)]
        self.made = float32 if made.type == "tensor(float)" else int32
        if _V < (10, 0):
            self.num_bindings = 2
            self.get_binding_name = lambda n: self.tensors[n][0]
            self.binding_is_input = lambda n: self.tensors[n][2]
            self.get_binding_shape = lambda n: self.tensors[n][1]
            self.get_binding_dtype = lambda n: float32 if self.tensors[n][2] else self.made
        if _V >= (8, 5):
            self.num_io_tensors = 2
            self.get_tensor_name = lambda n: self.tensors[n][0]
            self.get_tensor_mode = lambda name: TensorIOMode.INPUT if self._of(name)[2] else TensorIOMode.OUTPUT
            self.get_tensor_shape = lambda name: self._of(name)[1]
            self.get_tensor_dtype = lambda name: float32 if self._of(name)[2] else self.made

    def _of(self, name):
        return next(each for each in self.tensors if each[0] == name)

    def create_execution_context(self):
        return _Context(self)

    def create_engine_inspector(self):
        return _Inspector(self)

    def nodes(self):
        return [
            each for each in self.graph.node if each.op_type not in ("Constant", "QuantizeLinear", "DequantizeLinear")
        ]


class _Context:
    def __init__(self, engine):
        self._engine, self.profiler, self._addresses = engine, None, {}
        if _V >= (8, 5):
            self.set_tensor_address = self._set_tensor_address
            self.execute_async_v3 = lambda stream: self._run([self._addresses[n] for n, _, _ in engine.tensors])
        if _V < (10, 0):
            self.execute_async_v2 = lambda bindings, stream: self._run(bindings)

    def _set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_v2(self, bindings):
        return self._run(bindings)

    def _run(self, bindings):
        if _FAULT == "refused":
            return False
        engine = self._engine
        (given, shape, _), (_, made_shape, _) = engine.tensors
        output = engine.session.run(None, {given: _array(bindings[0], shape, np.float32)})[0]
        if engine.made is float32:
            output = output.astype(np.float16 if "FP16" in engine.facts["flags"] else np.float32).astype(np.float32)
        target = _array(bindings[1], made_shape, np.float32 if engine.made is float32 else np.int32)
        target[...] = output
        if self.profiler is not None:
            for node in engine.nodes():
                name = "__myl_" + node.output[0] if _V >= (10, 0) else node.name
                self.profiler.report_layer_time(name, 0.01)
        return True


def _array(address, shape, dtype):
    count = int(np.prod(shape))
    kind = np.ctypeslib.as_ctypes_type(dtype)
    return np.ctypeslib.as_array((kind * count).from_address(address)).reshape(shape)


def _facts(word):
    """What an inspector says of a tensor: one field to 10, two from 11."""
    return {"DataType": word, "Format": "Linear"} if _V >= (11, 0) else {"Format/Datatype": word}


class _Inspector:
    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, form):
        engine, flags = self._engine, self._engine.facts["flags"]
        if not engine.facts["detailed"]:
            return json.dumps({"Layers": [node.name for node in engine.nodes()]})
        # From 11 the file has the number formats of the engine, and there are no flags for them.
        in_half = any(each.data_type == 10 for each in engine.graph.initializer) if _V >= (11, 0) else "FP16" in flags
        quantised = {each.output[0] for each in engine.graph.node if each.op_type == "DequantizeLinear"}
        layers = []
        for node in engine.nodes():
            is_int8 = (_V >= (11, 0) or "INT8" in flags) and node.op_type == "Conv" and node.input[0] in quantised
            word = "Int8" if is_int8 else "Half" if in_half else "Float"
            if _V < (10, 0):
                word = {
                    "Int8": "Thirty-two wide channel vectorized row major Int8 format.",
                    "Half": "Row major linear FP16 format",
                    "Float": "Row major linear FP32",
                }[word]
            kind = "CaskConvolution" if node.op_type == "Conv" else node.op_type
            half = "Row major linear FP16 format" if _V < (10, 0) else "Half"
            read, written = map(_facts, (word, half if is_int8 else word))  # an int8 kernel may write fp16
            name, more = node.name, {}
            if _V >= (10, 0):
                name, more = "__myl_" + node.output[0], {"Metadata": f"[ONNX Layer: {node.name}]"}
            tensors = {"Inputs": [{"Name": node.input[0], **read}], "Outputs": [{"Name": node.output[0], **written}]}
            layers.append({"Name": name, "LayerType": kind, **tensors, **more})
        return json.dumps({"Layers": layers})
