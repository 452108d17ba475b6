"""Predictions of a latency model: seconds with an interval, or why a network is outside of what it knows; no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from jetbench.errors import SpecError
from jetbench.files import read_text
from jetbench.network.kernels import REORDERED, kernel_class
from jetbench.network.layouts import Direction, Layouts
from jetbench.network.list_operations import list_block, list_decoder
from jetbench.network.operations import Operation
from jetbench.network.plan import DecoderPlan, Plan, TapPlan, plan_block, plan_network
from jetbench.network.rules import (
    IMAGE_CHANNELS,
    TAPPED,
    StageRule,
    Step,
    block_channels,
    format_size,
    has_shortcut,
    list_steps,
    resolve_fusion,
    stage_rules,
    tapped_blocks,
)
from jetbench.profiling.latency_features import features_of, features_of_reorder
from jetbench.profiling.latency_model import Fit, LatencyModel, cost_of, outside
from jetbench.profiling.listing import list_network
from jetbench.spec.architecture import ActivationName, Architecture
from jetbench.spec.base import first_problem
from jetbench.spec.catalog import read_architecture
from jetbench.spec.values import Size

MOST_BYTES = 2**26
MOST_REASONS = 3
MOST_KNOWN = 200_000  # blocks by rule and place


@dataclass(frozen=True)
class Prediction:
    """What a model says of a network: seconds with a 95 % interval, or None with the reasons."""

    name: str
    seconds: float | None
    interval: tuple[float, float] | None
    reasons: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The prediction as plain data, of class `predicted`."""
        return {
            "network": self.name,
            "class": "predicted" if self.seconds is not None else "missing",
            "latency_s": self.seconds,
            "interval_s": self.interval,
            "outside": list(self.reasons),
        }


def read_model(path: Path) -> LatencyModel:
    """The model of a file.

    Raises:
        SpecError: the file cannot be read, or is no latency model of this version.
    """
    try:
        return LatencyModel.model_validate_json(read_text(path, MOST_BYTES))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: is no latency model: it is not UTF-8") from None
    except ValidationError as error:
        raise SpecError(f"{path}: is no latency model of this version ({first_problem(error)})") from None


def fit_of(model: LatencyModel) -> Fit:
    """The costs of a model."""
    return Fit(model.block, model.costs, model.constant_s, model.kernel_s, model.scale)


def predict(model: LatencyModel, name: str, operations: Sequence[Operation]) -> Prediction:
    """The prediction for a network with these operations, at the model's size."""
    reasons = dict.fromkeys(
        reason for each in operations if (reason := outside(each, model.domain, model.kernels)) is not None
    )
    if reasons:
        return Prediction(name, None, None, tuple(reasons))
    seconds = fit_of(model).predict(operations)
    return Prediction(name, seconds, (seconds * max(0.0, 1 - model.half), seconds * (1 + model.half)))


class _Piece(NamedTuple):
    """A block or the decoder: its seconds and kernels, its output, how its inputs were reordered, what is unknown."""

    seconds: float
    kernels: int
    channels: int
    is_blocked: bool
    reordered: frozenset[tuple[Direction, int]]
    reason: str | None


class Predictor:
    """Predicts many JetSeg networks of the model's size and classes: each different block is computed once.

    It gives the same as `predict`; a screening asks for millions.
    """

    def __init__(self, model: LatencyModel) -> None:
        self._model, self._fit = model, fit_of(model)
        self._quick: dict[tuple[object, ...], _Piece] = {}
        self._whole: dict[tuple[object, ...], _Piece] = {}

    def seconds(self, architecture: Architecture) -> float | None:
        """The latency in seconds; None for a network outside of what was learnt, or that cannot be built."""
        try:
            seconds, reason = self.predict(architecture)
        except SpecError:
            return None
        return None if reason else seconds

    def predict(self, architecture: Architecture) -> tuple[float, str | None]:
        """The seconds that the costs give, and the first reason why they are no prediction.

        Raises:
            SpecError: the network cannot be built.
        """
        model = self._model
        size, activation = model.input_size, architecture.activation
        rules, steps = stage_rules(architecture), list_steps(architecture, model.num_classes, size)
        taps = tapped_blocks(architecture, size)
        channels, is_blocked = IMAGE_CHANNELS, False
        pieces: list[_Piece] = []
        outputs: dict[int, tuple[int, Size, bool]] = {}
        reordered: dict[int, frozenset[Direction]] = {}
        for number, step in enumerate(steps):
            rule = rules[step.stage]
            key = (rule, step, channels, is_blocked, activation)
            piece = self._quick.get(key)
            if piece is None:
                if len(self._quick) > MOST_KNOWN:
                    self._quick.clear()
                piece = self._quick[key] = self._block(rule, step, channels, is_blocked, activation)
            if number - 1 in taps:
                reordered[number - 1] = frozenset(direction for direction, _ in piece.reordered)
            channels, is_blocked = piece.channels, piece.is_blocked
            if number in taps:
                outputs[number] = channels, step.out_size, is_blocked
            pieces.append(piece)
        pieces.append(self._decoder(architecture, taps, outputs, reordered))
        fit = self._fit
        total, count = sum(piece.seconds for piece in pieces), sum(piece.kernels for piece in pieces)
        reason = next((piece.reason for piece in pieces if piece.reason), None)
        return fit.constant_s + fit.kernel_s * count + fit.scale * total, reason

    def _block(
        self, rule: StageRule, step: Step, channels: int, is_blocked: bool, activation: ActivationName
    ) -> _Piece:
        chosen = rule.residual_branches if step.residual else rule.branches
        branches = tuple((each.kernel_size, each.asymmetric, each.dilation) for each in chosen)  # quicker to compare
        own = (branches, rule.layout, rule.attention, has_shortcut(rule, step), rule.skip if step.residual else "none")
        place = (step.stage == "s0", step.residual, step.stride, step.in_size, step.out_size, is_blocked, activation)
        # A block is known by what it computes: many rules and places of an encoder give the same one.
        key = (own, place, channels, block_channels(rule, step, channels))
        if key not in self._whole:
            plan = plan_block(rule, step, channels)
            layouts = Layouts(self._fit.block, (1,) if is_blocked else ())
            self._whole[key] = self._piece(list_block(plan, activation), layouts, (1,), plan.out_channels)
        return self._whole[key]

    def _decoder(
        self,
        architecture: Architecture,
        taps: Sequence[int],
        outputs: Mapping[int, tuple[int, Size, bool]],
        reordered: Mapping[int, frozenset[Direction]],
    ) -> _Piece:
        model = self._model
        fusion, head = resolve_fusion(architecture), architecture.decoder.head_channels
        numbers = sorted(outputs)
        before = tuple(reordered.get(number, frozenset()) for number in numbers)
        # Only which taps are the same block matters, and not where in the encoder they are.
        places = {number: at for at, number in enumerate(numbers, 1)}
        at = tuple(places[number] for number in taps)
        key = (at, tuple(outputs[n] for n in numbers), before, head, fusion, architecture.activation)
        if key not in self._whole:
            plans = tuple(
                TapPlan(name, max(outputs[number][1]), number, outputs[number][0], outputs[number][1])
                for name, number in zip(TAPPED, taps, strict=True)
            )
            decoder = DecoderPlan(taps=plans, head_channels=head, fusion=fusion, num_classes=model.num_classes)
            layouts = Layouts(
                self._fit.block,
                [places[number] for number in numbers if outputs[number][2]],
                [(way, places[number]) for number, ways in zip(numbers, before, strict=True) for way in ways],
            )
            operations = list_decoder(decoder, architecture.activation, model.input_size)
            self._whole[key] = self._piece(operations, layouts, tuple(places.values()), model.num_classes)
        return self._whole[key]

    def _piece(self, operations: Sequence[Operation], layouts: Layouts, inputs: Sequence[int], channels: int) -> _Piece:
        model, costs = self._model, self._fit.costs
        total, reason = 0.0, None
        for placed in layouts.follow(operations):
            own = features_of(placed.operation, placed.is_blocked)
            total += cost_of(costs, kernel_class(placed.operation), own)
            total += sum(cost_of(costs, REORDERED, features_of_reorder(each)) for each in placed.reorders)
            reason = reason or outside(placed.operation, model.domain, model.kernels)
        output = operations[-1].makes[0]
        changed = frozenset(each for each in layouts.reordered if each[1] in inputs)
        return _Piece(total, len(operations), channels, output.number in layouts.blocked, changed, reason)


def predict_networks(
    model: LatencyModel, names: Sequence[str], size: Size, num_classes: int, changes: Mapping[str, Any] | None = None
) -> list[Prediction]:
    """The predictions for architectures.

    Raises:
        SpecError: a network does not exist or cannot be built.
    """
    predictions = []
    for name in names:
        given = dict(changes or {})
        architecture = read_architecture(name, given, f"{name} with {given}" if given else None)
        plan = plan_network(architecture, num_classes, size)
        label = Path(name).stem
        if size != model.input_size:
            reason = f"learnt at {format_size(model.input_size)}, not at {format_size(size)}"
            predictions.append(Prediction(label, None, None, (reason,)))
        elif num_classes != model.num_classes:
            reason = f"learnt with {model.num_classes} classes, not with {num_classes}"
            predictions.append(Prediction(label, None, None, (reason,)))
        elif not isinstance(plan, Plan):
            predictions.append(Prediction(label, None, None, ("it is no JetSeg network",)))
        else:
            predictions.append(predict(model, label, list_network(plan)))
    return predictions
