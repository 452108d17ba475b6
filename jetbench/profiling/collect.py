"""collect: the records of a result.json that a bundle's probe wrote on a board.

A result may come from anybody: every field has a type and a bound, and nothing in it names a path that is opened.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import jetbench
from jetbench.deploy.artefact import Artefact
from jetbench.errors import JetbenchError, SpecError, visible
from jetbench.files import read_text
from jetbench.models.build import build_model
from jetbench.network.operations import add_up
from jetbench.probe.engines import Layer
from jetbench.probe.engines.tensor_rt import UNTRIED
from jetbench.profiling.assemble import assemble, assemble_estimate
from jetbench.profiling.deployed import describe_deployment, parts_of_layers
from jetbench.profiling.findings import Findings, ProcessFindings
from jetbench.profiling.kernels import NOT_OF_A_BATCH, kernels_of_layers
from jetbench.profiling.parts import describe_parts
from jetbench.profiling.power import read_energy
from jetbench.profiling.probe_result import (
    Counts,
    ProbeResult,
    RawLayer,
    RawScore,
    ResultError,
    TrtexecUnit,
    Unit,
    UnitFindings,
    parse_result,
)
from jetbench.profiling.trace import image_to_trace, trace_operations
from jetbench.records.deployment import DeployedScore, Deployment, Trtexec
from jetbench.records.measurement import Standard
from jetbench.records.record import Environment, Profile, Record
from jetbench.records.scores import ClassCounts
from jetbench.spec.base import first_problem
from jetbench.spec.device import Device, is_device
from jetbench.spec.profiling import FILE_BACKENDS
from jetbench.stats import paired_difference

MOST_RESULT_BYTES = 256 * 2**20


def collect(path: Path) -> tuple[list[Record], Device]:
    """The records of a result.json, one for each network, form and power mode, and the device of the bundle.

    Raises:
        SpecError: the file cannot be read, or is not a result.json of this version's probe.
    """
    try:
        result = parse_result(read_text(path, MOST_RESULT_BYTES))
        finished = datetime.fromtimestamp(result.finished_s, timezone.utc)
        timed = [unit.mode for unit in result.units] + [each.mode for each in result.trtexec]
        modes = dict.fromkeys(timed + [each.mode for each in result.failures])
        records = [
            _Form(result, mode, network, case).record(finished)
            for mode in modes
            for network, packed in enumerate(result.bundle.networks)
            for case in range(len(packed.cases))
        ]
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise SpecError(f"{path}: not a result.json of this version's probe ({first_problem(error)})") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a result.json of this version's probe (it is not UTF-8)") from None
    except ResultError as error:
        raise SpecError(f"{path}: not a result.json of this version's probe ({visible(str(error))[:200]})") from None
    return records, result.bundle.device


class _Form:
    """One form of one network in one power mode, from which a record is made."""

    def __init__(self, result: ProbeResult, mode: str | None, network: int, case: int) -> None:
        self._result, self._mode, self._number = result, mode, case
        self._network = result.bundle.networks[network]
        self._packed = self._network.cases[case]
        self._case, self._device = self._packed.case, result.bundle.device
        own = [unit for unit in result.units if unit.mode == mode and unit.network == network and case in unit.cases]
        self._alone = next((unit for unit in own if unit.kind == "alone"), None)
        turns = [unit for unit in own if unit.kind == "turn"]
        # Where forms could not be timed together, each was timed by itself, and the whole turns are left out.
        single = [unit for unit in turns if len(unit.cases) == 1]
        self._turns = single or turns
        failed = (each for each in result.failures if (each.mode, each.network, each.case) == (mode, network, case))
        self._failure = next((visible(each.reason) for each in failed), None)
        by_trtexec = (each for each in result.trtexec if (each.mode, each.network, each.case) == (mode, network, case))
        self._trtexec = next(by_trtexec, None)

    def record(self, finished: datetime) -> Record:
        """The record; without measurements, with the reason, if the form failed."""
        if self._trtexec is not None:
            return self._case.to_record(self._timed_by(self._trtexec), finished)
        if self._alone is None or self._failure is not None:
            return self._case.to_record(self._not_measured(), finished)
        timed = ([self._alone] if len(self._turns) == 0 or len(self._turns[0].cases) == 1 else []) + self._turns
        processes = [self._read(unit) for unit in timed]
        place = timed[-1].cases.index(self._number)
        first = self._network.cases[timed[-1].cases[0]].case
        profile = assemble(
            network=place,
            processes=processes,
            alone=processes[0] if timed[0] is self._alone else self._read(self._alone),
            input_size=self._case.input_size,
            config=self._case.config,
            target=self._device,
            operations=self._case.operations(),
            reference=f"{first.label}, {first.config.form}" if place else None,
            standard=self._standard(timed),
        )
        return self._case.to_record(profile.model_copy(update=self._checked(profile)), finished)

    def _standard(self, timed: Sequence[Unit]) -> Standard | None:
        """The standard network's passes on the board; None if it was not timed in all processes."""
        packed, runs = self._result.bundle.standard, tuple(unit.standard for unit in timed if unit.standard is not None)
        if packed is None or len(runs) != len(timed):
            return None
        return Standard(name=packed.name, digest=packed.digest, form="traced", input_size=packed.input_size, runs=runs)

    def _not_measured(self) -> Profile:
        why = f"not measured: {self._failure or 'the probe was ended before'}"
        some = self._result.units[0] if self._result.units else self._result.trtexec[0]
        environment = _environment(some, self._mode)
        estimated = assemble_estimate(
            operations=self._case.operations(),
            input_size=self._case.input_size,
            config=self._case.config,
            target=self._device,
            why=why,
            mode=environment.power_mode,
        )
        return estimated.model_copy(update={"environment": environment})

    def _timed_by(self, unit: TrtexecUnit) -> Profile:
        """A profile without a latency of ours, since TensorRT has no Python package there."""
        self._failure = "TensorRT has no Python package there; GPU compute by trtexec is another quantity"
        timed, artefact = unit.trtexec, self._artefact(unit.trtexec.file)
        own = {"runtime": f"tensorrt {timed.version}", "executes": "GPU", "options": {"graph": "off", "tried": UNTRIED}}
        deployment = describe_deployment(
            own, [_layer(each) for each in timed.layers], artefact, self._case.config.dtype
        ).model_copy(
            update={
                "trtexec": Trtexec(
                    version=timed.version, command=timed.command, build_s=timed.build_s, compute_s=timed.compute_s
                ),
                "parities": (),
                "unscored": "not scored: trtexec gives times, and no output to score",
            }
        )
        changes = {"deployment": deployment, "environment": _environment(unit, self._mode)}
        return self._not_measured().model_copy(update=changes)

    def _checked(self, profile: Profile) -> dict[str, Any]:
        """What the profile says of the reference, and of the machine if that is not the bundle's board."""
        assert self._alone is not None
        (own,) = self._alone.findings
        changes: dict[str, Any] = {}
        parity = own.parity
        if parity is not None and self._case.config.dtype == "fp32":
            difference = parity.largest / parity.scale if parity.largest is not None and parity.scale else None
            changes["output_difference"] = difference
        # A container hides the board's device tree; then the host's jtop identifies the board.
        board = own.energy.meta.get("board", {}) if own.energy else {}
        identity = {**self._alone.identity, **{str(key): str(value) for key, value in board.items()}}
        if self._device.is_board and not is_device(self._device, identity):
            model = identity.get("model")
            # In a container without the board's device tree and jtop, an accelerator is all that speaks for the board.
            is_other = model is not None or profile.runs_on != "device"
            note = f"the bundle was made for {self._device.title}, but was measured on: "
            note += f"{model or 'a machine that does not name itself'} ({profile.environment.device})"
            changes |= {"runs_on": "another machine" if is_other else "an unnamed machine"}
            changes |= {"notes": {**profile.notes, "processor": note}}
        return changes

    def _read(self, unit: Unit) -> ProcessFindings:
        return ProcessFindings(
            networks=tuple(
                self._read_findings(each, is_alone=unit.kind == "alone" and case == self._number)
                for each, case in zip(unit.findings, unit.cases, strict=True)
            ),
            control=unit.control,
            standard=unit.standard,
            watch=unit.watch,
            environment=_environment(unit, self._mode),
        )

    def _read_findings(self, own: UnitFindings, is_alone: bool) -> Findings:
        findings = Findings(cold_start=own.cold_start, model=own.model, end_to_end=own.end_to_end)
        if not is_alone:
            return findings
        case, notes = self._case, {}
        energy = None
        if own.energy is not None:
            energy = read_energy(own.energy.model_dump(), self._device, case.config.batch_size)
        reasons = [energy.problem] if energy and energy.problem else []
        if own.power_notes or reasons:
            notes["power_w"] = "; ".join([*reasons, *own.power_notes])
        if case.config.backend in FILE_BACKENDS:
            notes["peak_memory_bytes"] = f"not measured: {case.config.backend} holds its memory outside torch's"
        elif case.config.cuda_graph:
            notes["peak_memory_bytes"] = "not measured: a CUDA graph has taken its memory when it was captured"
        elif own.memory is None or own.memory.allocator_peak_bytes is None:
            notes["peak_memory_bytes"] = "the probe reads torch's allocator on a GPU only"
        cost = add_up(case.operations())
        rest = {
            "memory": own.memory,
            "finite": own.finite,
            "energy": energy,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "flops": cost.flops,
            "bytes_moved": cost.bytes_moved,
            "deployment": self._deployment(own),
            "peaks": own.peaks,
            **self._by_part(own, notes),
        }
        return findings.model_copy(update={**rest, "notes": notes})

    def _by_part(self, own: UnitFindings, notes: dict[str, str]) -> dict[str, Any]:
        """The times of the layers of an engine, by part of the network and by class of kernel."""
        if not own.layers:
            return {}
        case = self._case
        try:
            module = build_model(case.architecture, case.num_classes, case.input_size).eval()
        except JetbenchError as error:
            notes["layers"] = f"not told by part: {error}"
            return {}
        layers = [_layer(each) for each in own.layers]
        if len({len(layer.seconds) for layer in layers}) != 1:
            raise ResultError("layers: their times are of different numbers of passes")
        notes["layers"] = f"median of {len(layers[0].seconds)} passes by the profile of {case.config.backend}"
        notes["kernels"] = notes["layers"]
        is_batch = case.config.batch_size > 1
        if is_batch:
            notes["kernels"] = NOT_OF_A_BATCH.format(size=case.config.batch_size)
        operations = trace_operations(module, image_to_trace(module, case.input_size))
        return {
            "parts": describe_parts(module, operations, parts_of_layers(layers, module)),
            "kernels": () if is_batch else kernels_of_layers(layers, module, operations, case.config.dtype),
        }

    def _deployment(self, own: UnitFindings) -> Deployment | None:
        if own.deployment is None:
            return None
        described = {**own.deployment.model_dump(), "engine": own.deployment.engine}
        artefact = self._artefact(own.file)
        deployment = describe_deployment(
            described, [_layer(each) for each in own.layers], artefact, self._case.config.dtype
        )
        score = self._score(own.score)
        changes: dict[str, Any] = {"parities": (own.parity,) if own.parity else ()}
        changes |= {"scores": (score,)} if score else {"unscored": "not scored: the bundle holds no images for it"}
        return deployment.model_copy(update=changes)

    def _artefact(self, file: str) -> Artefact:
        """The file of the bundle that ran.

        Raises:
            ResultError: the bundle has no such file.
        """
        name = Path(file).name
        exported = next((each for each in self._packed.exported if each.file.name == name), None)
        if exported is None:
            raise ResultError(f"file: {visible(name)}: the bundle has no such file for {self._case.config.form}")
        return Artefact(path=name, exported=exported)

    def _score(self, score: RawScore | None) -> DeployedScore | None:
        """The score on the bundle's images, beside PyTorch's on the same.

        Raises:
            ResultError: the counts are not those of the bundle's images and classes.
        """
        data, theirs = self._result.bundle.data, self._network.counts
        if score is None or data is None:
            return None
        pixels = data.images * data.size[0] * data.size[1]
        for what, counts in (("score.counts", score.counts), ("counts", theirs)):
            if len(counts) != data.images:
                raise ResultError(f"{what}: expected {data.images}, one for each image, found {len(counts)}")
            if any(len(kind) != self._case.num_classes for image in counts for kind in image):
                raise ResultError(f"{what}: expected {self._case.num_classes} classes")
            if sum(sum(right) + sum(missed) for right, _, missed in counts) > pixels:
                raise ResultError(f"{what}: more pixels than the images have ({pixels:,})")
        if score.changed > pixels:
            raise ResultError(f"score.changed: more pixels than the images have ({pixels:,})")
        pairs = [(_miou(one), _miou(other)) for one, other in zip(score.counts, theirs, strict=True)]
        changes = [one - other for one, other in pairs if one is not None and other is not None]
        change = paired_difference(changes) if len(changes) > 1 else None
        return DeployedScore(
            split=data.split,
            dataset=data.dataset,
            digest=data.digest,
            images=data.images,
            deployed=_add(score.counts),
            torch=_add(theirs),
            changed=score.changed,
            pixels=pixels,
            image_change=(change.mean, change.half) if change is not None else None,
        )


def _environment(unit: Unit | TrtexecUnit, mode: str | None) -> Environment:
    own = {**unit.environment, "jetbench": jetbench.__version__, "commit": None}
    return Environment.model_validate(own if mode is None else {**own, "power_mode": mode})


def _layer(raw: RawLayer) -> Layer:
    return Layer(raw.name, raw.kind, raw.precision, raw.where, list(raw.seconds), raw.layout)


def _add(counts: Sequence[Counts]) -> ClassCounts:
    right, taken, missed = (tuple(map(sum, zip(*(image[kind] for image in counts), strict=True))) for kind in range(3))
    return ClassCounts(true_positives=right, false_positives=taken, false_negatives=missed)


def _miou(counts: Counts) -> float | None:
    """The mIoU of one image; None without labelled pixels."""
    right, taken, missed = counts
    if not sum(right) + sum(missed):
        return None
    return ClassCounts(true_positives=right, false_positives=taken, false_negatives=missed).miou
