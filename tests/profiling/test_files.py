"""Model files of other exporters: what they say of themselves is checked like any input."""

from pathlib import Path

import pytest

from jetbench.errors import SpecError
from jetbench.network.operations import Operation
from jetbench.profiling import file_counts
from jetbench.profiling.files import file_case
from jetbench.spec.profiling import ProfilingConfig


@pytest.mark.parametrize(
    ("shape", "classes", "said"),
    [((1, 3, 8, 2**31 - 1), 4, r"input_size\.1: must be at most 32,768"), ((1, 3, 8, 8), 0, "num_classes: must be")],
)
def test_a_size_or_a_number_of_classes_that_no_network_has_is_an_error(
    shape: tuple[int, ...], classes: int, said: str, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    given = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape)
    made = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, (1, classes, 8, 8))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["images"], ["logits"])], "g", [given], [made])
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)]), str(path))
    with pytest.raises(SpecError, match=said):
        file_case(str(path), ProfilingConfig(backend="onnxruntime"), None, None, (8, 8))


def test_a_graph_whose_counts_exceed_64_bits_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = Operation("", "", "Conv", "convolution", 1, 0, 2**62, 2**63, 0, 0, 0, 0, (), ())
    monkeypatch.setattr(file_counts, "read_graph", lambda path, size: None)
    monkeypatch.setattr(file_counts, "operations_of", lambda graph: (huge,))
    with pytest.raises(SpecError, match="its counts exceed 64 bits"):
        file_counts.operations_of_file("huge.onnx", (8, 8))
