"""Profiles a board from another machine: sends the network there as a bundle, and fetches the result.

For boards whose system is too old for jetbench or Ray. The request says how SSH reaches the board (`--on`). On a
cluster the machine that holds the board's token says it: $JETBENCH_GATEWAY is the command that runs a shell command on
the board (`ssh nvidia@agx.local`), and $JETBENCH_GATEWAY_PYTHON is the Python on the board that has torch.
"""

import os
import shlex

from jetbench.data.cache import load_data
from jetbench.errors import ProfilingError
from jetbench.execution.profile import case_of
from jetbench.execution.requests import ProfileReply, ProfileRequest
from jetbench.profiling.bundle import settings_for
from jetbench.profiling.remote import Remote, open_remote, profile_on
from jetbench.progress import Report
from jetbench.records.record import Profile
from jetbench.spec.device import load_device

GATEWAY = "JETBENCH_GATEWAY"


def gateway_of(request: ProfileRequest) -> Remote | None:
    """The board of this request as this machine reaches it; None if it is measured here."""
    if not request.board:
        return None
    if request.on is not None:
        return open_remote(request.on)
    command = os.environ.get(GATEWAY)
    return Remote(f"{GATEWAY} ({command})", tuple(shlex.split(command))) if command else None


def profile_through(remote: Remote, request: ProfileRequest, report: Report) -> Profile | ProfileReply:
    """Profile a network on a board. The probe there keeps other profiles off it.

    Args:
        remote: the board.
        request: names the device that it is.
        report: called with the finished share (0 to 1) and what is being measured.

    Raises:
        ProfilingError: the board cannot be reached, is a different one, or its probe failed; the message says why.
    """
    board, case = load_device(request.board or ""), case_of(request)
    settings = (request.profiling, *request.forms)
    for config in settings:
        if settings_for(board, [config]) != [config]:
            raise ProfilingError(
                f"{board.title} runs traced networks, not {config.backend}: set profiling.backend=traced, so that the "
                "row says so"
            )
    cases = [case.model_copy(update={"config": config}) for config in settings]
    scored = request.dataset if request.weights_file is not None else None
    if scored is not None and request.digest not in (None, load_data(scored).info.digest):
        raise ProfilingError(f"the data of {scored.name} here differ from those of the driver")
    modes = (request.power_mode,) if request.power_mode else ()
    records = profile_on(remote, cases, board, scored, modes, report=report)
    first, *others = [record.measured for record in records]
    if first.model_latency is None:
        raise ProfilingError(first.notes["latency"])
    return ProfileReply(profile=first, forms=tuple(others)) if request.forms else first
