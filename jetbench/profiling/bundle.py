"""A network packed for a board where jetbench cannot be installed, and what came back from there.

A bundle is a folder with the traced network (TorchScript: an older torch loads it), a reference output, and the probe:
the code that measures here too. JetPack 4 has Python 3.6 and JetPack 5 has 3.8, with torch for these alone.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

import jetbench
from jetbench.errors import SpecError
from jetbench.models.build import to_torchscript
from jetbench.network.operations import add_up
from jetbench.probe.passes import Normalise, random_pixels
from jetbench.profiling.assemble import assemble
from jetbench.profiling.case import Case
from jetbench.profiling.findings import Findings, ProcessFindings
from jetbench.profiling.power import plan_of, read_energy
from jetbench.records.measurement import ColdStart, LatencyRun, Memory, Watch
from jetbench.records.record import Environment, Record
from jetbench.spec.device import Device, is_device

PROBE = Path(jetbench.__file__).parent / "probe"


def write_bundle(folder: Path, case: Case, device: Device) -> float:
    """Write a bundle of `case` for `device`; returns how far the traced network is from the network, relatively.

    Raises:
        SpecError: the folder is there already, or the number format is not fp32.
    """
    if folder.exists():
        raise SpecError(f"{folder}: is there already; give another --out")
    if case.config.dtype != "fp32":
        raise SpecError(f"--dtype {case.config.dtype}: a bundle's weights are frozen as fp32; leave it out")
    case = case.model_copy(update={"config": case.config.model_copy(update={"backend": "traced"})})
    network = case.network()
    model = network.build().eval()
    normalise = Normalise(case.mean, case.std, torch.device("cpu"))
    images = normalise(random_pixels(case.config.batch_size, case.input_size, case.config.seed))
    with torch.no_grad():
        traced = to_torchscript(model, images)
        logits = model(images)
        difference = float((traced(images) - logits).abs().max() / logits.abs().max())
    folder.mkdir(parents=True)
    torch.jit.save(traced, str(folder / "model.ts"))
    torch.save({"images": images, "logits": logits}, folder / "reference.pt")
    shutil.copytree(PROBE, folder / "probe", ignore=shutil.ignore_patterns("__pycache__"))
    request = {
        "case": case.model_dump(mode="json"),
        "device": device.model_dump(mode="json"),
        "config": case.config.model_dump(mode="json"),
        "input_size": case.input_size,
        "mean": case.mean,
        "std": case.std,
        "accelerator": device.accelerator,
        "sensors": device.sensors,
        "energy_plan": list(plan_of(case.config)),
        "weights_bytes": sum(tensor.nbytes for tensor in model.state_dict().values()),
        "jetbench": jetbench.__version__,
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    return difference


def collect(path: Path) -> tuple[Record, Device]:
    """The record of a result.json that a board's probe wrote, and the device that it was made for.

    Raises:
        SpecError: it is no such file.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        case, device = Case.model_validate(told["bundle"]["case"]), Device.model_validate(told["bundle"]["device"])
        found = [_read_process(each, case, device) for each in told["processes"]]
        # In a container the board's device tree is hidden; its host's jtop tells.
        meta = (told["processes"][0].get("energy") or {}).get("meta", {})
        identity = {**told["processes"][0]["identity"], **meta.get("board", {})}
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, IndexError, TypeError, ValidationError) as error:
        raise SpecError(f"{path}: is no result.json of a probe of this version ({type(error).__name__})") from None
    profile = assemble(0, found, found[0], case.input_size, case.config, device, case.operations())
    changes: dict[str, Any] = {"output_difference": max(each["difference"] for each in told["processes"])}
    if device.is_board and not is_device(device, identity):
        what = identity["model"] or "a machine that does not say what it is"
        note = f"the bundle was made for {device.title}, but was measured on: {what}"
        changes |= {"runs_on": "another machine", "notes": {**profile.notes, "processor": note}}
    finished = datetime.fromtimestamp(told["finished_s"], timezone.utc)
    return case.to_record(profile.model_copy(update=changes), finished), device


def _read_process(told: Mapping[str, Any], case: Case, device: Device) -> ProcessFindings:
    notes: dict[str, str] = {}
    energy = None
    if told.get("energy"):
        energy = read_energy(told["energy"], device, case.config.batch_size)
    reasons = [energy.problem] if energy and energy.problem else []
    if told.get("power_notes") or reasons:
        notes["power_w"] = "; ".join([*reasons, *told.get("power_notes", ())])
    rest: dict[str, Any] = {}
    if "memory" in told:
        cost = add_up(case.operations())
        rest = {
            "memory": Memory.model_validate(told["memory"]),
            "finite": told["finite"],
            "energy": energy,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "flops": cost.flops,
            "bytes_moved": cost.bytes_moved,
        }
        if told["memory"]["allocator_peak_bytes"] is None:
            notes["peak_memory_bytes"] = "the probe reads torch's allocator on a GPU only"
    findings = Findings(
        cold_start=ColdStart.model_validate(told["cold_start"]),
        model=LatencyRun.model_validate(told["model"]),
        end_to_end=LatencyRun.model_validate(told["end_to_end"]),
        notes=notes,
        **rest,
    )
    environment = Environment(**{**told["environment"], "jetbench": jetbench.__version__, "commit": None})
    return ProcessFindings(networks=(findings,), watch=Watch.model_validate(told["watch"]), environment=environment)
