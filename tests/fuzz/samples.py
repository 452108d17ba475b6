"""Whole and true inputs, one of each kind, from which the cases are made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from jetbench import build_model, load_architecture
from jetbench.models.weights import SavedNetwork
from jetbench.network.variants import expand_sweep
from jetbench.profiling.case import Case
from jetbench.profiling.latency_model import FEWEST
from jetbench.records.folder import add_profiles, append_records
from jetbench.spec.device import load_device
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.sweep import Sweep
from jetbench.study.jobs import Task
from jetbench.study.trials import Trials
from jetbench.training.loop import save_weights
from tests.made_up import ENVIRONMENT, failed, profile, record, training
from tests.profiling.test_latency_model import model_of, networks, sample
from tests.reporting.questions.test_why import KERNELS, PEAKS

SIZE = (32, 48)
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "bmp": "BMP", "webp": "WEBP", "eps": "EPS"}


def write_samples(folder: Path) -> None:
    """Write every sample to a folder."""
    study = folder / "study"
    study.mkdir()
    records = [record(f"v{n}", miou=0.3 + 0.1 * n, latency_s=0.01 * (n + 1)) for n in range(3)]
    append_records(study, *records, failed("broken"))
    add_profiles(
        study, [record("timed", kind="profile", profile=profile(0.02, kernels=KERNELS, peaks=PEAKS, num_classes=3))]
    )
    predictor = model_of([sample(each) for each in networks(FEWEST)])
    (folder / "latency.json").write_text(predictor.model_dump_json())
    numbers = np.random.default_rng(0)
    picture = Image.fromarray(numbers.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    for suffix, name in FORMATS.items():
        picture.save(folder / f"image.{suffix}", name)
    for split in ("train", "val", "test"):
        for kind in (split, f"{split}annot"):
            (folder / "camvid" / kind).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.fromarray(numbers.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(folder / "camvid" / split / name)
            ids = Image.fromarray(numbers.integers(0, 12, SIZE, dtype=np.uint8))
            ids.save(folder / "camvid" / f"{split}annot" / name)
    architecture = load_architecture("jetseg-nano")
    model = build_model(architecture, 11, (64, 96))
    saved = SavedNetwork(
        architecture=architecture, num_classes=11, input_size=(64, 96), mean=(100.0,) * 3, std=(50.0,) * 3
    )
    save_weights(folder / "weights.safetensors", model.state_dict(), {"jetbench": saved.model_dump_json()})
    write_graph(folder / "model.onnx")
    (folder / "result.json").write_text(json.dumps(probe_result()))
    reply = {"training": training(0.5).model_dump(mode="json"), "environment": ENVIRONMENT.model_dump(mode="json")}
    (folder / "reply.json").write_text(json.dumps({"records": 3, "attempt": 1, "result": reply}))
    trials = Trials(folder, "study", {}, {"miou": "maximize", "latency": "minimize"}, None)
    for n, each in enumerate(records):
        trials.tell(each, {}, (0.3 + 0.1 * n, 0.01))
    while trials.is_behind:
        trials.flush()
    trials.close()


def write_graph(path: Path, classes: int = 4, is_resized: bool = True) -> None:
    """A model file as another exporter writes it: a convolution, and a resize to a size that the graph computes."""
    from onnx import TensorProto, helper, numpy_helper, save

    numbers = np.random.default_rng(0)
    weights = [
        ("w", numbers.normal(size=(classes, 3, 3, 3)).astype(np.float32)),
        ("b", np.zeros(classes, dtype=np.float32)),
    ]
    weights += [("at", np.array([2], dtype=np.int64)), ("end", np.array([4], dtype=np.int64))]
    weights += [("front", np.array([1, classes], dtype=np.int64)), ("none", np.zeros(0, dtype=np.float32))]
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Slice", ["shape", "at", "end"], ["sides"]),
        helper.make_node("Concat", ["front", "sides"], ["size"], axis=0),
        helper.make_node("Resize", ["y", "none", "none", "size"], ["logits"], mode="linear"),
    ]
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 96])
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes, 64, 96])
    if not is_resized:
        given, nodes = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, classes, 32, 48]), nodes[:1]
    graph = helper.make_graph(
        nodes, "x", [taken], [given], [numpy_helper.from_array(value, name) for name, value in weights]
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), str(path))


def probe_result() -> dict[str, Any]:
    """What a probe writes, with made-up numbers: a traced network, and a file of it that is scored."""
    network = load_architecture("jetseg-nano")
    case = Case(label="jetseg-nano", architecture=network, num_classes=2, input_size=(64, 96), config=ProfilingConfig())
    in_file = case.model_copy(update={"config": ProfilingConfig(backend="tensorrt", dtype="fp16")})
    run = {"samples_s": [0.01, 0.011, 0.012], "cpu_s": [], "warmup_s": []}
    timed = {"cold_start": {"load_s": 0.1, "first_pass_s": 0.2}, "model": run, "end_to_end": run}
    parity = {"on": "the reference", "images": 1, "pixels": 6144, "changed": 0, "largest": 1e-6, "rms": 1e-7}
    alone = {
        **timed,
        "memory": {"weights_bytes": 100, "image_bytes": 10},
        "finite": True,
        "energy": None,
        "power_notes": ["made up"],
        "parity": {**parity, "scale": 1.0},
    }
    counts = [[[6000, 100], [20, 24], [24, 20]]] * 2
    layer = {
        "name": "/network/encoder/blocks.0/body/Conv", "kind": "CaskConvolution", "precision": "fp16", "where": "Orin",
        "seconds": [1e-4, 1.1e-4], "layout": "channels first",
    }  # fmt: skip
    file = {
        "format": "onnx", "name": "model.onnx", "bytes": 10, "sha256": "0", "exporter": "x", "opset": 13, "ir": 7,
        "seconds": 1.0,
    }  # fmt: skip
    engine = {
        "tensorrt": "10.3.0", "gpu": "Orin", "capability": "8.7x8", "dtype": "fp16", "seconds": 10.0, "peak_bytes": 10,
        "bytes": 10, "sha256": "0", "workspace_mib": 1024,
    }  # fmt: skip
    deployed = {
        **alone,
        "file": "01-jetseg-nano/model.onnx",
        "deployment": {"runtime": "tensorrt 10.3.0", "executes": "Orin", "options": {}, "engine": engine},
        "layers": [layer],
        "score": {"counts": counts, "changed": 3},
    }
    shared = {
        "watch": {"before": {"at_s": 0.0}, "after": {"at_s": 1.0}},
        "environment": ENVIRONMENT.model_dump(mode="json"),
        "identity": {"model": "NVIDIA Jetson Nano", "compatible": "nvidia,p3450-0000\0nvidia,p3448-0000"},
        "mode": "MAXN",
        "network": 0,
    }
    units = [
        {"kind": "alone", "cases": [0], "findings": [alone], **shared},
        {"kind": "alone", "cases": [1], "findings": [deployed], **shared},
        {"kind": "turn", "cases": [0, 1], "findings": [timed, timed], "control": run, **shared},
    ]
    exported = {"file": file, "runtime": "onnxruntime", "parities": []}
    forms = [
        {"case": case.model_dump(mode="json")},
        {"case": in_file.model_dump(mode="json"), "exported": [exported]},
    ]
    bundle = {
        "device": load_device("nano").model_dump(mode="json"),
        "networks": [{"cases": forms, "counts": counts}],
        "data": {"images": 2, "size": [64, 96], "split": "val", "dataset": "streets", "digest": "0"},
    }
    failure = {"mode": "5W", "network": 0, "case": 1, "reason": "no engine"}
    return {"version": 2, "bundle": bundle, "units": units, "failures": [failure], "finished_s": 1.7e9}


def first_probe_result() -> dict[str, Any]:
    """What a probe of version 1 wrote, of one network in one form."""
    bundle = probe_result()["bundle"]
    first, *_ = probe_result()["units"]
    (finding,) = first["findings"]
    process = {**finding, **{name: first[name] for name in ("watch", "environment", "identity")}, "difference": 1e-6}
    del process["parity"]
    packed = {"case": bundle["networks"][0]["cases"][0]["case"], "device": bundle["device"]}
    return {"bundle": packed, "processes": [process] * 3, "finished_s": 1.7e9}


def task() -> Task:
    """A variant on its way."""
    sweep = Sweep(name="x", base="jetseg-nano")
    (variant,) = expand_sweep(sweep, 3, (64, 96))
    return Task(variant, "key")


if __name__ == "__main__":
    torch.manual_seed(0)
