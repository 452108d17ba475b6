"""jetson-stats: the rails, power mode and board that its jtop service reads. AGPL-3.0, imported by the sampler alone.

After the service's reader has died, callbacks continue with old data; a sample whose uptime has not changed is marked
as not fresh. The service sets one interval for all its clients, which may differ from the requested one.
"""

import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from . import ina3221
from .missing import Missing

DEFAULT_INTERVAL_S = 0.5
SHORTEST_INTERVAL_S = 0.1  # at shorter intervals the client ends silently as soon as the service is late once
START_TIMEOUT_S = 5.0
SOCKET = "/run/jtop.sock"


def missing() -> Optional[Missing]:
    """Why this sensor cannot be read here, and how to fix it; None if a service seems to run."""
    from importlib.util import find_spec

    if not os.path.exists(SOCKET):
        return Missing(
            "the jtop service does not run here ({} is missing)".format(SOCKET),
            "on a Jetson run: sudo pip3 install -U jetson-stats, then sudo systemctl restart jtop; in a container add: "
            "-v /run/jtop.sock:/run/jtop.sock",
        )
    if find_spec("jtop") is None:
        return Missing(
            "jtop needs jetson-stats in this Python, in the same version as the service",
            "pip install 'jetbench[jetson]'",
        )
    if not os.access(SOCKET, os.R_OK | os.W_OK):
        return Missing(
            "{} belongs to a group that this user is not in".format(SOCKET),
            "run: sudo usermod -aG jtop $USER and log in again; in a container add: "
            "--group-add $(getent group jtop | cut -d: -f3)",
        )
    return None


def stream(interval: float, emit: Callable[[Dict[str, Any]], None], stopped: threading.Event) -> None:
    """Emit a sample for each of the service's readings until stopped or until the service ends."""
    from jtop import JtopException, jtop

    last: List[Optional[float]] = [None]

    def observe(client: Any) -> None:
        uptime = client.uptime.total_seconds()
        memory = client.memory.get("RAM", {})
        sample: Dict[str, Any] = {"t": time.monotonic(), "power_w": _rails(client.power), "fresh": uptime != last[0]}
        last[0] = uptime
        if "shared" in memory:
            sample["nvmap_bytes"] = 1024 * int(memory["shared"])
        for gpu in client.gpu.values():
            if "cur" in gpu.get("freq", {}):
                sample["gpu_hz"] = 1e3 * gpu["freq"]["cur"]
        sample["temperatures_c"] = {
            name: float(zone["temp"]) for name, zone in client.temperature.items() if zone.get("temp", -256) > -40
        }
        emit(sample)

    # start() can wait forever when the service's reader is dead.
    watchdog = threading.Timer(START_TIMEOUT_S, _give_up, [emit])
    watchdog.daemon = True
    watchdog.start()
    client = jtop(interval=max(interval, SHORTEST_INTERVAL_S))
    client.attach(observe)
    try:
        client.start()
    except JtopException as error:
        emit({"error": _one_line(error)})
        return
    except Exception as error:
        # jtop raises many classes: for a service of another version, for a pipe that breaks during the handshake.
        emit({"error": "the jtop service gave an unexpected answer ({})".format(_one_line(error))})
        return
    finally:
        watchdog.cancel()
    emit({"meta": _describe(client)})
    while not stopped.wait(0.1):
        if not client.is_alive():
            break
    failed = getattr(client, "_error", None)
    client.close()
    if failed:
        # A service that is killed ends the client by its own exception, or by an error of the pipe.
        lost = "lost connection with the jtop service ({})" if isinstance(failed[1], (OSError, EOFError)) else "{}"
        emit({"error": lost.format(_one_line(failed[1]))})
    elif not stopped.is_set():
        emit({"error": "the jtop client ended unexpectedly"})


def _rails(power: Dict[str, Any]) -> Dict[str, float]:
    """Watts of every rail. jtop lists a board's input rail separately, as the total; it is put back here."""
    rails = {name: rail["power"] / 1e3 for name, rail in power.get("rail", {}).items() if rail.get("online", True)}
    total = power.get("tot", {})
    if "name" in total:
        rails[total["name"]] = total["power"] / 1e3
    return {name: watts for name, watts in rails.items() if name != "NC"}


def _describe(client: Any) -> Dict[str, Any]:
    from jtop import __version__

    hardware = {str(k): str(v) for k, v in client.board.get("hardware", {}).items() if "Serial" not in str(k)}
    clocks, mode = client.jetson_clocks, client.nvpmodel
    return {
        "sensor": "jtop",
        "version": __version__,
        "interval_s": float(client.interval),
        "rails": sorted(_rails(client.power)),
        "averaging_s": ina3221.averaging_s(),
        "board": hardware,
        "power_mode": None if mode is None else str(mode),
        "jetson_clocks": None if clocks is None else bool(clocks),
    }


def _give_up(emit: Callable[[Dict[str, Any]], None]) -> None:
    emit(
        {
            "error": "the jtop service does not answer within {:g} s; run: sudo systemctl restart jtop".format(
                START_TIMEOUT_S
            )
        }
    )
    os._exit(3)


def _one_line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__
