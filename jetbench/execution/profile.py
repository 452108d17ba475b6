"""The profiling phase of a job: measures one network, saved or untrained, on this machine."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from jetbench.data.cache import SegmentationData, load_data
from jetbench.errors import ProfilingError
from jetbench.execution.requests import ProfileReply, ProfileRequest
from jetbench.models.weights import load_weights
from jetbench.network.plan import plan_network
from jetbench.probe.power_mode import Held, PowerModeError
from jetbench.profiling.case import Case
from jetbench.profiling.host import describe_host, host_device, is_here, read_identity, torch_device, with_card
from jetbench.profiling.scored import score_profiles
from jetbench.profiling.session import profile_cases
from jetbench.progress import Report
from jetbench.records.record import Profile
from jetbench.spec.device import Device, load_device


def run_profile(request: ProfileRequest, report: Report) -> Profile | ProfileReply:
    """Profile one network on this machine, as a job of a sweep or a search, and score the files that runtimes ran."""
    here, device = _device_here(request)
    case = case_of(request).model_copy(update={"dataset": request.dataset})
    settings = (request.profiling, *request.forms)
    forms = [case.model_copy(update={"config": each, "label": each.form}) for each in settings]
    cases = forms if request.forms else [case]
    with _in_mode(request.power_mode):
        measured = profile_cases(cases, device, here, report, is_fresh=True, may_fail=bool(request.forms))
    first, *others = score_profiles(cases, measured, lambda: _data_of(request), report)
    return ProfileReply(profile=first, forms=tuple(others)) if request.forms else first


@contextmanager
def _in_mode(mode: str | None) -> Iterator[None]:
    """Hold a power mode of this board, which is restored at the end.

    Raises:
        ProfilingError: the board has no such mode, or cannot be set to it.
    """
    if mode is None:
        yield
        return
    try:
        with Held() as held:
            held.set(mode)
            yield
    except PowerModeError as error:
        raise ProfilingError(f"power_mode: {error}") from None


def _data_of(request: ProfileRequest) -> SegmentationData:
    """The data on which files are scored.

    Raises:
        ProfilingError: none were named, the network is not trained, or those here differ from the driver's.
    """
    if request.weights_file is None:
        raise ProfilingError("the network was profiled before its training")
    if request.dataset is None:
        raise ProfilingError("no data were named")
    data = load_data(request.dataset)
    if request.digest not in (None, data.info.digest):
        raise ProfilingError(f"the data of {data.info.name} on {socket.gethostname()} differ from those of the driver")
    return data


def case_of(request: ProfileRequest) -> Case:
    """The network of a request with its profiling settings."""
    if request.untrained is not None:
        return Case(label="the network", config=request.profiling, **dict(request.untrained))
    path = Path(request.weights_file or "")
    _, saved = load_weights(path)
    fingerprint = plan_network(saved.architecture, saved.num_classes, saved.input_size).fingerprint
    if request.fingerprint not in (None, fingerprint):
        raise ProfilingError(f"{path}: holds a different network than the one to profile")
    return Case(
        label=path.stem,
        architecture=saved.architecture,
        num_classes=saved.num_classes,
        input_size=saved.input_size,
        config=request.profiling,
        weights_file=str(path),
        mean=saved.mean,
        std=saved.std,
    )


def _device_here(request: ProfileRequest) -> tuple[Device, str]:
    """The device that this machine is, and the torch device to measure on.

    Raises:
        ProfilingError: this machine is not the requested board, or has no CUDA device that torch finds.
    """
    identity = read_identity()
    if request.board is None:
        here = host_device(identity)
        if request.device == "cpu" and here.accelerator == "cuda" and not here.is_board:
            here = load_device("cpu")
        if request.device == "cuda" and not torch.cuda.is_available():
            raise ProfilingError(f"{socket.gethostname()} must profile on a GPU, but torch finds no CUDA device there")
        return here, request.device
    board = load_device(request.board)
    if not is_here(board, identity):
        raise ProfilingError(
            f"{socket.gethostname()} must profile as {board.name}, but is not a {board.title} (it is: "
            f"{describe_host(identity)})"
        )
    return with_card(board), str(torch_device(board))
