"""How much faster the backends are than the release's own function, and what our loop and an export cost.

Not tests: `make benchmark` runs them, on a machine with nothing else to do. The release's function runs in eager mode
with the system's malloc, in a process of its own; ours in another one, which keeps freed memory, as our profiles do.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from jetbench.deploy.backends.folded import fold
from jetbench.deploy.export import Deployed, export
from jetbench.models.weights import GREY_MEAN, GREY_STD
from jetbench.probe.engines import open_engine
from jetbench.probe.machine import keep_freed_memory
from jetbench.probe.passes import model_pass
from jetbench.probe.timing import time_pass
from tests.benchmarks.test_training import network, released_network
from tests.deploy.test_export import MEAN, NETWORKS, STD, parity_of, settled

pytestmark = pytest.mark.benchmarks

SIZE, ROUNDS = (512, 512), 15


def serve(pipe: Connection, ours: bool) -> None:
    """Answer each name with the seconds of one pass of that form, in this process."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        passes = _ours(images) if ours else _theirs(images)
        for run in passes.values():
            run()
        pipe.send(sorted(passes))
        while (name := pipe.recv()) is not None:
            pipe.send(passes[name]())


def _theirs(images: torch.Tensor) -> dict[str, Callable[[], float]]:
    released = released_network(SIZE).eval()
    return {"released": lambda: _seconds(released, images)}


def _ours(images: torch.Tensor) -> dict[str, Callable[[], float]]:
    import onnxruntime
    import openvino

    keep_freed_memory()
    model = network(size=SIZE).eval()
    folder = Path(tempfile.mkdtemp())
    export(Deployed(model, GREY_MEAN, GREY_STD).eval(), images.clone(), folder, "onnx")
    path = str(folder / "model.onnx")
    folded = fold(model, images)
    engines = {name: open_engine(name, path) for name in ("onnxruntime", "openvino")}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    hints["CPU_DENORMALS_OPTIMIZATION"] = True
    compiled = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    array = images.numpy()
    return {
        "eager": lambda: _seconds(model, images),
        "folded": lambda: _seconds(folded, images),
        **{name: partial(time_pass, model_pass(engine, images)) for name, engine in engines.items()},
        "bare onnxruntime": lambda: _seconds(lambda x: session.run(None, {"images": x}), array),
        "bare openvino": lambda: _seconds(lambda x: compiled.infer([x], share_inputs=True, share_outputs=True), array),
    }


def _seconds(run: Callable[..., object], argument: object) -> float:
    begin = time.perf_counter()
    run(argument)
    return time.perf_counter() - begin


def test_backends_beat_the_release_and_our_loop_costs_nothing() -> None:
    """Passes of all forms in turn; medians over the rounds of each round's ratio."""
    spawn = multiprocessing.get_context("spawn")
    ends = [spawn.Pipe() for _ in (False, True)]
    processes = [
        spawn.Process(target=serve, args=(there, ours)) for (_, there), ours in zip(ends, (False, True), strict=True)
    ]
    for process in processes:
        process.start()
    try:
        names = [(pipe, name) for pipe, _ in ends for name in pipe.recv()]
        rounds: list[dict[str, float]] = []
        for number in range(ROUNDS):
            taken = {}
            for pipe, name in names if number % 2 else names[::-1]:
                pipe.send(name)
                taken[name] = pipe.recv()
            rounds.append(taken)
    finally:
        for pipe, _ in ends:
            pipe.send(None)
        for process in processes:
            process.join()

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(taken[slow] / taken[fast] for taken in rounds)

    print()
    for _, name in names:
        median = 1e3 * statistics.median(taken[name] for taken in rounds)
        print(f"{name:<18} {median:7.1f} ms, {ratio('released', name):.2f} times as fast as the release")
    loops = {name: ratio(name, f"bare {name}") for name in ("onnxruntime", "openvino")}
    print(", ".join(f"{name} in our loop takes {value:.3f} of its bare loop" for name, value in loops.items()))
    assert max(ratio("released", name) for name in ("onnxruntime", "openvino")) >= 3.4
    assert ratio("released", "folded") >= 1.5
    assert all(value <= 1.03 for value in loops.values())


def test_all_networks_are_exported_in_five_seconds_and_compute_the_same(tmp_path: Path) -> None:
    """Processor time of each export at 256x512, and parity on noise."""
    torch.set_num_threads(1)
    print()
    for name in NETWORKS:
        folder = tmp_path / name
        folder.mkdir()
        model = Deployed(settled(name, (256, 512)), MEAN, STD).eval()
        parity = parity_of(model, torch.randn(1, 3, 256, 512), folder)
        begin = time.process_time()
        file = export(model, torch.randn(1, 3, 256, 512), folder, "onnx")
        spent = time.process_time() - begin
        print(f"{name:<28} {file.bytes / 1e6:7.2f} MB {spent:5.1f} s  {parity.describe()}")
        assert parity.passes
        assert spent <= 5 or file.bytes > 100e6
