"""What of a bundle is measured in which process: each form of a network alone, then all forms of it in turn.

Each process is a unit. What a unit finds is kept at once, so that a probe that was ended goes on behind it. A form
that fails alone is left out of the turns; if a process that holds all forms fails, each is timed by itself.
Needs Python 3.6.
"""

import json
import os
import subprocess
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import machine
from .alone import signal_name
from .children import command_of, environment
from .packed import Bundle

Report = Callable[[float, str], None]


class UnitError(Exception):
    """A process ended without findings; the message says how."""


class Units:
    """The units of a bundle on this board: `measured` holds the findings, `failures` why a form has none.

    `by_trtexec` has the forms that trtexec timed, for want of a Python package of TensorRT.

    Args:
        bundle: the folder.
        processes: number of fresh processes that time each form; None: the bundle's.
        modes: number of power modes in which all of it is measured.
        report: called with the finished share (0 to 1) and what is being measured.
        fixes_clocks: jetson_clocks runs in each mode.
    """

    def __init__(
        self, bundle: Bundle, processes: Optional[int], modes: int, report: Report, fixes_clocks: bool = False
    ) -> None:
        self._bundle, self._processes, self._report = bundle, processes, report
        self._clocks = "-jetson_clocks" if fixes_clocks else ""
        self.measured: List[Dict[str, Any]] = []
        self.failures: List[Dict[str, Any]] = []
        self.by_trtexec: List[Dict[str, Any]] = []
        self._done = 0
        self._all = modes * sum(self._count(network) for network in bundle.networks)

    @property
    def share(self) -> float:
        """The finished share."""
        return min(1.0, self._done / float(self._all))

    def _count(self, network: Dict[str, Any]) -> int:
        cases = network["cases"]
        times = self._processes or cases[0]["config"]["processes"]
        builds = sum(case["config"]["backend"] == "tensorrt" for case in cases)
        return int(builds + len(cases) + times - (len(cases) == 1))

    def run(self, mode: Optional[str]) -> None:
        """Measure every network in the power mode that the board is in."""
        self._state = machine.power_mode() or "as-it-is"
        for number, network in enumerate(self._bundle.networks):
            begin = self._done
            self._run_network(mode, number, network)
            self._done = begin + self._count(network)

    def fail(self, mode: str, reason: str) -> None:
        """Write down that nothing can be measured in a power mode."""
        for number, network in enumerate(self._bundle.networks):
            self._done += self._count(network)
            for case in range(len(network["cases"])):
                self._fail(mode, number, case, reason)

    def _run_network(self, mode: Optional[str], number: int, network: Dict[str, Any]) -> None:
        cases, working = network["cases"], []
        for case in range(len(cases)):
            try:
                if cases[case]["config"]["backend"] == "tensorrt":
                    built = self._unit(mode, number, "build", [case])
                    if "trtexec" in built:
                        self.by_trtexec.append(dict(built, mode=mode, network=number, case=case))
                        continue
                self._unit(mode, number, "alone", [case])
                working.append(case)
            except UnitError as error:
                self._fail(mode, number, case, str(error))
        if not working:
            return
        times = self._processes or cases[0]["config"]["processes"]
        if len(working) == 1:
            self._turns(mode, number, working, times - 1)  # the unit alone has timed it once
            return
        try:
            self._turns(mode, number, working, times)
        except UnitError as error:
            self._report(self.share, "{}; each form is timed by itself now".format(error))
            for case in working:
                try:
                    self._turns(mode, number, [case], times - 1)
                except UnitError as alone:
                    self._fail(mode, number, case, str(alone))

    def _turns(self, mode: Optional[str], number: int, cases: Sequence[int], times: int) -> None:
        for again in range(times):
            self._unit(mode, number, "turn", cases, again)

    def _fail(self, mode: Optional[str], number: int, case: int, reason: str) -> None:
        self.failures.append({"mode": mode, "network": number, "case": case, "reason": reason})

    def _unit(
        self, mode: Optional[str], number: int, kind: str, cases: Sequence[int], again: int = 0
    ) -> Dict[str, Any]:
        """Measure one unit, unless it is kept; returns what it found."""
        network = self._bundle.networks[number]
        label = _label(network, cases, kind, again)
        names = ((mode or self._state) + self._clocks, network["folder"], kind, "-".join(map(str, cases)), str(again))
        name = "{}/{}-{}-{}-{}".format(*(each.replace("/", "_") for each in names))
        self._report(self.share, label if mode is None else "{}, {}".format(mode, label))
        findings = self._bundle.kept(name)
        is_kept = findings is not None and (kind != "build" or "trtexec" in findings)
        if findings is None or not is_kept:  # an engine is looked for where it was built
            findings = self._child(number, kind, cases, label)
            self._bundle.keep(name, findings)
        if kind != "build":
            self.measured.append(dict(findings, mode=mode, network=number, kind=kind))
        self._done += 1
        return findings

    def _child(self, number: int, kind: str, cases: Sequence[int], label: str) -> Dict[str, Any]:
        threads = self._bundle.networks[number]["cases"][0]["config"]["threads"]
        what = ("--one", kind, "--network", str(number), "--cases", ",".join(map(str, cases)))
        done = subprocess.run(
            command_of("__main__", str(self._bundle.folder), *what, "--parent", str(os.getpid())),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, cwd="/",
            env=dict(environment(), OMP_NUM_THREADS=str(threads)),
        )  # fmt: skip
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1]))
        if done.returncode < 0:
            name = signal_name(-done.returncode)
            more = ": the kernel does so when memory runs out" if name == "SIGKILL" else ""
            raise UnitError("{}: its process was ended by {}{}".format(label, name, more))
        lines = done.stderr.strip().splitlines() or ["it ended with code {}".format(done.returncode)]
        raise UnitError("{}: {}".format(label, lines[-1][:600]))


def _label(network: Dict[str, Any], cases: Sequence[int], kind: str, again: int) -> str:
    """`jetseg-nano, tensorrt fp16: engine` of a unit."""
    forms = [network["cases"][case]["form"] for case in cases]
    named = forms[0] if len(forms) == 1 else "{} forms in turn".format(len(forms))
    what = {"build": "building the engine", "alone": "alone", "turn": "process {}".format(again + 1)}[kind]
    return "{}, {}: {}".format(network["label"], named, what)
