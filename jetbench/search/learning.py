"""Learning the latencies of a space on a device: a sample is measured network by network, and a model fitted to it.

What is measured is kept in a report folder at once, so that a command that was ended goes on.
"""

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import jetbench
from jetbench.errors import SpecError
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import add_up
from jetbench.network.plan import Plan, plan_architecture
from jetbench.network.variants import Variant, expand_sweep, read_sweep
from jetbench.probe.machine import power_mode
from jetbench.profiling.case import Case
from jetbench.profiling.environment import describe_environment
from jetbench.profiling.host import Site
from jetbench.profiling.latency_model import LatencyModel, Learnt, Sample, domain_of, learn
from jetbench.profiling.latency_sample import choose, facts_of
from jetbench.profiling.session import profile_cases
from jetbench.progress import Report
from jetbench.records.folder import add_profiles, read_profiles
from jetbench.records.record import Environment, Record
from jetbench.search.screen import changes_at, count_variants, read_space
from jetbench.search.space import SearchSpace, read_search
from jetbench.spec.architecture import Architecture
from jetbench.spec.base import override, read_yaml
from jetbench.spec.catalog import find, parse_variable, read_base
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.search import Space
from jetbench.spec.training import TrainingConfig
from jetbench.spec.values import Size

CANDIDATES = 600
"""Random networks among which a sample is chosen."""
TRIES = 50  # draws for each candidate: not every combination can be built


def draw_members(name: str, size: Size, num_classes: int, count: int, seed: int = 0) -> tuple[str, list[Variant]]:
    """The title of a space, a search or a sweep, and so many different JetSeg networks of it, in random order.

    Args:
        name: a bundled name or a path.
        size: (height, width) of the images.
        num_classes: channels of the logits.
        count: how many; fewer if there are not so many.
        seed: of the order.

    Raises:
        SpecError: there is no such file, or its networks are no JetSeg networks or cannot be built at this size.
    """
    generator = random.Random(seed)
    title, source = _draws(name, size, num_classes, generator)
    members: dict[str, Variant] = {}
    for tries, variant in enumerate(source):
        if variant is not None and isinstance(variant.plan, Plan):
            members.setdefault(variant.plan.fingerprint, variant)
        if len(members) >= count or tries >= TRIES * count:
            break
    if not members:
        raise SpecError(f"{name}: none of its networks is a JetSeg network that can be built at {size[0]}x{size[1]}")
    return title, list(members.values())


def _draws(name: str, size: Size, num_classes: int, generator: random.Random) -> tuple[str, Iterator[Variant | None]]:
    kind, path = _kind_of(name)
    if kind == "sweep":
        sweep = read_sweep(str(path))
        variants = list(expand_sweep(sweep, num_classes, size))
        generator.shuffle(variants)
        return sweep.name, iter(variants)
    if kind == "search":
        search = read_search(str(path))
        space = SearchSpace(search, num_classes, size)
        return search.name, _forever(lambda: space.variant(space.draw(generator), ""))
    listed = read_space(str(path))
    return listed.name, _forever(lambda: _member(listed, size, num_classes, generator))


def _forever(draw: Callable[[], Variant]) -> Iterator[Variant | None]:
    """Draws without end; None for one that cannot be built."""
    while True:
        try:
            yield draw()
        except SpecError:
            yield None


def _member(space: Space, size: Size, num_classes: int, generator: random.Random) -> Variant:
    changes = changes_at(space, generator.randrange(count_variants(space)))
    architecture = parse_variable(override(read_base(space.base), changes), space.base)
    assert isinstance(architecture, Architecture)
    return Variant("", changes, architecture, TrainingConfig(), plan_architecture(architecture, num_classes, size))


def _kind_of(name: str) -> tuple[str, Path]:
    """Whether a name is that of a space, a search or a sweep, and its file."""
    problems = []
    for kind in ("search", "space", "sweep"):
        try:
            path = find(kind, name)
        except SpecError as error:
            problems.append(str(error))
            continue
        raw = read_yaml(path)
        if "variants" in raw:
            return "sweep", path
        return ("search" if "limits" in raw or "dataset" in raw else "space"), path
    raise SpecError(problems[0])


def choose_networks(candidates: Sequence[Variant], count: int, held_out: int) -> tuple[list[Variant], list[Variant]]:
    """The networks to learn from, which have all kernels between them, and random others to test on.

    Raises:
        SpecError: there are not so many.
    """
    if len(candidates) < count + held_out:
        raise SpecError(
            f"the space has {len(candidates)} different networks at this size, and {count + held_out} are asked for; "
            "give smaller --networks and --held-out"
        )
    tested, rest = candidates[:held_out], candidates[held_out:]
    operations = [list_operations(_plan_of(variant)) for variant in rest]
    macs = [float(sum(operation.macs for operation in each)) for each in operations]
    chosen = choose([facts_of(each) for each in operations], macs, count)
    return [rest[number] for number in chosen], list(tested)


def _plan_of(variant: Variant) -> Plan:
    assert isinstance(variant.plan, Plan)
    return variant.plan


def learning_config(config: ProfilingConfig) -> ProfilingConfig:
    """The settings with the effort of learning: two short processes for each network, and no power."""
    effort: dict[str, Any] = {"processes": 2, "max_processes": None, "power": "none", "precision": 0.02}
    return config.model_copy(update={**effort, "min_iterations": 15, "min_seconds": 0.5, "max_seconds": 6.0})


def cases_of(variants: Sequence[Variant], prefix: str, config: ProfilingConfig) -> list[Case]:
    """The networks as cases with random weights, called `network 1` and so on."""
    cases = []
    for number, variant in enumerate(variants, 1):
        plan, name = _plan_of(variant), f"{prefix} {number}"
        assert isinstance(variant.architecture, Architecture)
        architecture = variant.architecture.model_copy(update={"name": name})
        cases.append(
            Case(
                label=name,
                architecture=architecture,
                num_classes=plan.num_classes,
                input_size=plan.input_size,
                config=config,
                changes=variant.changes,
            )
        )
    return cases


def measure(cases: Sequence[Case], site: Site, folder: Path, report: Report) -> list[Record]:
    """The records of networks: those that the folder has, and the others measured and kept there.

    A record of another machine, torch or power mode is measured again.

    Args:
        cases: the networks in one setting.
        site: this machine.
        folder: the report folder.
        report: called with the finished share and what is being measured.
    """
    assert site.torch_device is not None
    here = _machine(site.device.name, describe_environment(torch.device(site.torch_device), None), power_mode())
    known = {
        (each.fingerprint, each.profiling_config): each
        for each in (read_profiles(folder) if folder.is_dir() else ())
        if _is_whole(each) and _machine_of(each) == here
    }
    records = []
    for number, case in enumerate(cases):
        plan = plan_architecture(case.architecture, case.num_classes, case.input_size)
        record = known.get((plan.fingerprint, case.config))
        if record is None:
            inner = _within(report, number, len(cases), case.label)
            (profile,) = profile_cases([case], site.torch_device, site.device, inner, rest="kernels")
            record = case.to_record(profile)
            folder.mkdir(parents=True, exist_ok=True)
            add_profiles(folder, [record])
        records.append(record)
    return records


def _within(report: Report, number: int, count: int, label: str) -> Report:
    """The progress of one network within that of all."""
    return lambda done, text: report((number + done) / count, f"{label} of {count}: {text}")


def _machine_of(record: Record) -> tuple[str | None, ...]:
    environment = record.measured.environment
    return _machine(record.measured.device, environment, environment.power_mode)


def _machine(device: str, environment: Environment, mode: str | None) -> tuple[str | None, ...]:
    """What two measurements of one model must share."""
    return device, environment.device, environment.cpu, environment.torch, mode


def _is_whole(record: Record) -> bool:
    """True if a record has what a model learns from."""
    return record.profile is not None and record.profile.normalised is not None


def fit_model(title: str, learnt: Sequence[Record], held_out: Sequence[Record]) -> LatencyModel:
    """A model of measured networks.

    Args:
        title: of the space.
        learnt: the records that it is fitted to.
        held_out: records that it is only tested on.

    Raises:
        SpecError: too few networks, or records that were not timed beside one standard network, with one runtime.
    """
    first = learnt[0]
    runtimes = {_runtime_of(each) for each in (*learnt, *held_out)}
    if len(runtimes) != 1:
        raise SpecError(
            f"{title}: its networks were measured with {' and '.join(sorted(runtimes))}; a model is of one of them: "
            "give another --name, and all are measured again"
        )
    identities = {each.measured.standard.identity for each in (*learnt, *held_out) if each.measured.standard}
    if len(identities) != 1 or not all(_is_whole(each) for each in (*learnt, *held_out)):
        raise SpecError(
            f"{title}: a record has no time of the standard network, or several have been timed with others"
        )
    usual = statistics.median(each.measured.standard.median_s for each in learnt if each.measured.standard)
    samples = [_sample(record, usual) for record in learnt]
    fit, crossed = learn(samples, first.profiling_config.runs_file)
    domain, kernels = domain_of(sample.operations for sample in samples)
    tested = [_sample(record, usual) for record in held_out]
    predicted = [fit.predict(sample.operations) for sample in tested]
    return LatencyModel(
        jetbench=jetbench.__version__,
        space=title,
        device=first.measured.device,
        environment=first.measured.environment,
        runtime=runtimes.pop(),
        config=first.profiling_config,
        input_size=first.measured.input_size,
        num_classes=first.num_classes,
        standard=identities.pop(),
        standard_s=usual,
        block=fit.block,
        costs=fit.costs,
        constant_s=fit.constant_s,
        kernel_s=fit.kernel_s,
        scale=fit.scale,
        domain=domain,
        kernels=kernels,
        learnt=tuple(_learnt(sample, seconds) for sample, seconds in zip(samples, crossed, strict=True)),
        held_out=tuple(_learnt(sample, seconds) for sample, seconds in zip(tested, predicted, strict=True)),
    )


def _runtime_of(record: Record) -> str:
    """`onnxruntime 1.23.0` or `torch 2.13.0`."""
    deployment = record.measured.deployment
    return deployment.runtime if deployment else f"torch {record.measured.environment.torch}"


def _sample(record: Record, usual_s: float) -> Sample:
    """A record as what is learnt from, with times at the pace at which the standard network takes its usual time."""
    profile = record.measured
    normalised, standard = profile.normalised, profile.standard
    assert normalised is not None
    assert standard is not None
    operations = list_operations(plan_architecture(record.architecture, record.num_classes, profile.input_size))
    pace = usual_s / standard.runs[0].median_s  # kernels were timed in the first process
    peaks = profile.peaks
    at_best = None
    if peaks is not None:
        at_best = sum(max(each.macs / peaks.macs_per_s, each.moved_bytes / peaks.bytes_per_s) for each in operations)
    return Sample(
        name=record.variant,
        fingerprint=record.fingerprint,
        changes=record.changes,
        operations=operations,
        seconds=normalised.median * usual_s,
        kernels={(each.part, each.kernel): pace * each.median_s for each in profile.kernels if each.median_s},
        repeats=tuple(ratio * usual_s for ratio in normalised.medians),
        roofline_s=at_best,
    )


def _learnt(sample: Sample, predicted_s: float) -> Learnt:
    cost = add_up(sample.operations)
    return Learnt(
        name=sample.name,
        fingerprint=sample.fingerprint,
        changes=dict(sample.changes),
        macs=cost.macs,
        bytes_moved=cost.bytes_moved,
        roofline_s=sample.roofline_s,
        seconds=sample.seconds,
        predicted_s=predicted_s,
        repeats_s=sample.repeats,
    )
