"""A profiling session: networks and settings in, their Profiles out, each timed in several fresh processes.

Medians of one network differ more between processes than within one process, so an interval from the passes of one
process is too narrow. Networks with the same threads are timed in turn in the same processes, with a copy of the first.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import torch
from torch import nn

from jetbench.data.cache import load_data
from jetbench.deploy.backends import check_backend
from jetbench.errors import JetbenchError, OutOfMemoryError, ProfilingError, SpecError, is_out_of_memory
from jetbench.files import read_json, write_json, write_whole
from jetbench.probe.alone import WAITING, die_with, machine_to_itself, signal_name
from jetbench.profiling.assemble import assemble, assemble_estimate
from jetbench.profiling.case import CLASSES, Case, list_cases
from jetbench.profiling.findings import Part, ProcessFindings
from jetbench.profiling.host import Site, find_site
from jetbench.profiling.live import profile_module
from jetbench.profiling.power import check_sensor
from jetbench.profiling.process import measure_process
from jetbench.profiling.scored import score_profiles
from jetbench.profiling.standard import standard_case, standard_times
from jetbench.progress import Report
from jetbench.records.measurement import (
    Latency,
)
from jetbench.records.record import Profile, Record
from jetbench.spec.base import Spec
from jetbench.spec.device import Device
from jetbench.spec.profiling import ProfilingConfig

# Settings of a process, not of a network.
SHARED = ("threads", "flush_denormals", "keep_freed_memory", "reference")


class ProcessRequest(Spec):
    """What one fresh process is to measure."""

    cases: tuple[Case, ...]
    parts: tuple[Part, ...]
    torch_device: str
    target: Device
    control: bool
    standard: Case | None = None


@overload
def profile(
    networks: str | Path | nn.Module,
    settings: ProfilingConfig = ...,
    device: str | Site = ...,
    size: tuple[int, int] | None = ...,
    num_classes: int = ...,
    changes: Mapping[str, Any] | None = ...,
    report: Report = ...,
    output: str | int | None = ...,
) -> Record: ...


@overload
def profile(
    networks: list[str | Path] | list[str] | list[Path] | tuple[str | Path, ...],
    settings: ProfilingConfig | Sequence[ProfilingConfig] = ...,
    device: str | Site = ...,
    size: tuple[int, int] | None = ...,
    num_classes: int = ...,
    changes: Mapping[str, Any] | None = ...,
    report: Report = ...,
    output: str | int | None = ...,
) -> list[Record]: ...


def profile(
    networks: str | Path | nn.Module | list[str | Path] | list[str] | list[Path] | tuple[str | Path, ...],
    settings: ProfilingConfig | Sequence[ProfilingConfig] = ProfilingConfig(),
    device: str | Site = "auto",
    size: tuple[int, int] | None = None,
    num_classes: int = CLASSES,
    changes: Mapping[str, Any] | None = None,
    report: Report = lambda share, text: None,
    output: str | int | None = None,
) -> Record | list[Record]:
    """Profile networks on a device: latency, memory, energy, each timed in fresh processes.

    Args:
        networks: the name of an architecture, a YAML file or a weights file, or a list of them, which are compared with
            the first. Or a torch module that maps (N, 3, H, W) to logits: it is measured in this process, because
            another one cannot build it, so its latency has no interval over processes.
        settings: how to run each network, and how long to measure; a list of settings with a list of networks.
        device: what to profile on, from `jetbench devices`. If this machine is not that device, nothing is measured.
        size: (height, width) of the images; by default the size of the device.
        num_classes: channels of the logits; a module is asked for them.
        changes: fields of the architectures with other values.
        report: called with the finished share (0 to 1) and what is being measured.
        output: which output of a module holds the logits, if it returns several.

    Returns:
        A record, which prints as its sheet; for a list a record for each network with each setting.

    Raises:
        SpecError: a network or the device does not exist, or a network cannot be built.
        ProfilingError: a process ended without a result, or a requested sensor cannot be read.
    """
    site = device if isinstance(device, Site) else find_site(device)
    several = [settings] if isinstance(settings, ProfilingConfig) else list(settings)
    if isinstance(networks, nn.Module):
        if len(several) != 1 or changes:
            raise SpecError("profile: a torch module takes one ProfilingConfig and no changes")
        return profile_module(networks, several[0], site, size or site.device.size, output, report)
    is_one = isinstance(networks, str | Path)
    names = [str(network) for network in ([networks] if isinstance(networks, str | Path) else networks)]
    records = profile_cases_at(site, list_cases(names, several, size or site.device.size, num_classes, changes), report)
    return records[0] if is_one and isinstance(settings, ProfilingConfig) else records


def profile_cases_at(
    site: Site, cases: Sequence[Case], report: Report, mode: str | None = None, rest: Part = "rest"
) -> list[Record]:
    """The records of `cases`: measured if `site` is this machine, otherwise counted and estimated; see `profile`.

    `mode` is the power mode that estimates are for; what is measured is measured in the mode that the board is in.
    `rest` is what is measured beside the latency, as in `profile_cases`.
    """
    if site.torch_device is None:
        profiles = estimate_cases(cases, site.device, f"not measured: {site.remark}", mode)
    else:
        profiles = profile_cases(cases, site.torch_device, site.device, report, rest=rest)
        if (data := next((case.dataset for case in cases if case.dataset is not None), None)) is not None:
            profiles = score_profiles(cases, profiles, lambda: load_data(data), report)
    return [case.to_record(measured) for case, measured in zip(cases, profiles, strict=True)]


def profile_cases(
    cases: Sequence[Case],
    torch_device: str,
    target: Device,
    report: Report = lambda share, text: None,
    is_fresh: bool = False,
    may_fail: bool = False,
    rest: Part = "rest",
) -> list[Profile]:
    """Profile `cases` on this machine, which is `target`, while no other job of jetbench runs on it.

    Args:
        cases: networks with their settings.
        torch_device: cpu or cuda.
        target: the device whose sensors and total rule apply.
        report: called with the finished share (0 to 1) and what is being measured.
        is_fresh: this process was started for this job only; if one process is enough, it measures here.
        may_fail: a case after the first whose backend or file is lacking is counted, with the reason, not measured.
        rest: what is measured beside the latency: everything, or only the kernels.

    Raises:
        SpecError: a backend cannot run here, or its file cannot be made.
        ProfilingError: a process ended without a result, or a sensor that is requested by name cannot be read here.
            Sensors and backends are checked before anything is measured; the message says why.
    """
    for name in dict.fromkeys(case.config.power for case in cases):
        check_sensor(name)
    for case in cases[:1] if may_fail else cases:
        check_backend(case.config, torch_device)
    report(0.0, WAITING)
    with machine_to_itself(lambda text: report(0.0, text)):
        report(0.0, "begins")
        cases, failed = _with_artefacts(cases, torch_device, report, may_fail)
        profiles: dict[int, Profile] = {
            number: estimate_cases([cases[number]], target, f"not measured: {why}")[0] for number, why in failed.items()
        }
        groups: dict[tuple[object, ...], list[int]] = {}
        for number, case in enumerate(cases):
            if number in failed:
                continue
            groups.setdefault(tuple(getattr(case.config, name) for name in SHARED), []).append(number)
        done = 0.0
        for numbers in groups.values():
            share = len(numbers) / len(cases)
            measured = _profile_group(
                [cases[number] for number in numbers],
                torch_device,
                target,
                _part_of(report, done, share),
                is_fresh,
                rest,
            )
            profiles.update(zip(numbers, measured, strict=True))
            done += share
        return [profiles[number] for number in range(len(cases))]


def _with_artefacts(
    cases: Sequence[Case], torch_device: str, report: Report, may_fail: bool
) -> tuple[list[Case], dict[int, str]]:
    """The cases with the files that their backends run; and why, by number, if that may be, there is none."""
    made, failed = [], {}
    for number, case in enumerate(cases):
        if case.config.runs_file:
            report(0.0, f"{case.label}: exporting for {case.config.backend}")
        try:
            check_backend(case.config, torch_device)
            made.append(case.with_artefact())
        except SpecError as error:
            if not may_fail or number == 0:
                raise
            made.append(case)
            failed[number] = str(error)
    return made, failed


def estimate_cases(cases: Sequence[Case], target: Device, why: str, mode: str | None = None) -> list[Profile]:
    """Profiles of `cases` for a device other than this machine: counted and estimated, not measured.

    Raises:
        SpecError: the device has no such power mode in its file.
    """
    if mode is not None:
        target.check_mode(mode)
    return [assemble_estimate(case.operations(), case.input_size, case.config, target, why, mode) for case in cases]


def _part_of(report: Report, start: float, share: float) -> Report:
    return lambda done, text: report(start + share * done, text)


def _profile_group(
    cases: Sequence[Case], torch_device: str, target: Device, report: Report, is_fresh: bool, rest: Part
) -> list[Profile]:
    """Profile cases that can share a process: time them together in every process, then measure each alone."""
    config = cases[0].config
    least = max(case.config.processes for case in cases)
    most = max(least, *(case.config.max_processes or 0 for case in cases))
    single = len(cases) == 1

    def request(chosen: Sequence[Case], parts: tuple[Part, ...]) -> ProcessRequest:
        control = len(chosen) > 1
        return ProcessRequest(
            cases=tuple(chosen),
            parts=parts,
            torch_device=torch_device,
            target=target,
            control=control,
            standard=standard_case(config),
        )

    if single and least == most == 1:
        do = measure_here if is_fresh else in_fresh_process
        both = do(request(cases, ("latency", rest)), report)
        return [
            assemble(
                network=0,
                processes=[both],
                alone=both,
                input_size=cases[0].input_size,
                config=config,
                target=target,
                operations=cases[0].operations(),
                standard=standard_times([both]),
            )
        ]
    timed: list[ProcessFindings] = []
    alone: list[ProcessFindings] = []
    jobs = least + len(cases) - single
    while len(timed) < least or (len(timed) < most and not _is_precise(timed, config.precision)):
        number = len(timed) + 1
        parts: tuple[Part, ...] = ("latency", rest) if single and number == 1 else ("latency",)
        text = (
            f"process {number} of {least}"
            if number <= least
            else f"process {number} of {most} at most: not yet precise"
        )
        jobs = max(jobs, number + len(cases) - single)
        findings = in_fresh_process(
            request(cases, parts), _prefixed(_part_of(report, (number - 1) / jobs, 1 / jobs), f"{text}: ")
        )
        timed.append(findings)
        alone += [findings] if rest in parts else []
    for case in cases[len(alone) :]:
        part = _part_of(report, (len(timed) + len(alone)) / jobs, 1 / jobs)
        alone.append(in_fresh_process(request([case], (rest,)), _prefixed(part, f"{case.label}: ")))
    first = cases[0]
    is_named = first.label == first.config.form or len({case.config.form for case in cases}) == 1
    reference = None if single else first.label if is_named else f"{first.label}, {first.config.form}"
    return [
        assemble(
            network=number,
            processes=timed,
            alone=alone[number],
            input_size=case.input_size,
            config=case.config,
            target=target,
            operations=case.operations(),
            reference=reference,
            images_ratio=config.batch_size / case.config.batch_size,
            standard=standard_times(timed),
        )
        for number, case in enumerate(cases)
    ]


def _prefixed(report: Report, prefix: str) -> Report:
    return lambda done, text: report(done, prefix + text)


def _is_precise(timed: Sequence[ProcessFindings], precision: float) -> bool:
    """True if the interval of every network's median over processes is within `precision`."""
    for network in range(len(timed[0].networks)):
        runs = tuple(run for process in timed if (run := process.networks[network].model))
        latency = Latency(batch_size=1, runs=runs)
        interval = latency.interval_s
        if interval is None or interval[1] - interval[0] > 2 * precision * latency.median_s:
            return False
    return True


def measure_here(request: ProcessRequest, report: Report = lambda share, text: None) -> ProcessFindings:
    """Measure what a request says in this process.

    Raises:
        OutOfMemoryError: a network does not fit into memory.
        ProfilingError: it cannot run here.
    """
    networks = [case.network() for case in request.cases]
    try:
        return measure_process(
            networks,
            torch.device(request.torch_device),
            request.parts,
            request.target,
            control=request.control,
            standard=request.standard.network() if request.standard is not None else None,
            report=report,
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        first = request.cases[0]
        where = f"{first.label} at {first.input_size[0]}x{first.input_size[1]}"
        raise OutOfMemoryError(f"{where} does not fit into this machine's memory") from None


def in_fresh_process(request: ProcessRequest, report: Report) -> ProcessFindings:
    """Measure what a request says in a new process, which is killed if this one ends.

    Raises:
        ProfilingError: the process ended without a result.
    """
    with tempfile.TemporaryDirectory(prefix="jetbench-") as name:
        folder = Path(name)
        (folder / "request.json").write_text(request.model_dump_json(), encoding="utf-8")
        environment = {**os.environ, "OMP_NUM_THREADS": str(request.cases[0].config.threads), "PYTHONSAFEPATH": "1"}
        environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as NVML counts cards
        process = subprocess.Popen(
            [sys.executable, "-m", "jetbench.profiling.session", str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            while True:
                try:
                    _, errors = process.communicate(timeout=0.25)
                    break
                except subprocess.TimeoutExpired:
                    report(*_read_progress(folder))
        except BaseException:
            process.kill()
            process.wait()
            raise
        try:
            return ProcessFindings.model_validate_json((folder / "findings.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ProfilingError(_describe_end(folder, process.returncode, errors, request)) from None


def _read_progress(folder: Path) -> tuple[float, str]:
    progress = read_json(folder / "progress.json") or {"share": 0.0, "text": "starting"}
    return progress["share"], progress["text"]


def _describe_end(folder: Path, code: int, errors: str, request: ProcessRequest) -> str:
    failure = folder / "failure.txt"
    if failure.exists():
        return failure.read_text(encoding="utf-8")
    label = request.cases[0].label
    if code == -signal.SIGKILL:
        return f"{label}: the process that measured it was killed (the kernel kills processes when memory runs out)"
    how = f"was ended by {signal_name(-code)}" if code < 0 else f"ended with code {code}"
    last = " | ".join(line for line in errors.strip().splitlines()[-3:])
    return f"{label}: the process that measured it {how}: {last}"[:600]


def main(folder: Path, parent: int) -> int:
    """Measure what request.json in `folder` says; writes findings.json, or failure.txt with the error message."""
    die_with(parent)
    last = 0.0

    def report(share: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last > 0.1:
            last = time.monotonic()
            write_json(folder / "progress.json", {"share": share, "text": text})

    request = ProcessRequest.model_validate_json((folder / "request.json").read_text(encoding="utf-8"))
    try:
        findings = measure_here(request, report)
    except JetbenchError as error:
        (folder / "failure.txt").write_text(str(error), encoding="utf-8")
        return 2
    write_whole(folder / "findings.json", findings.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
