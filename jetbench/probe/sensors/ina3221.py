"""INA3221 power monitors read directly from sysfs: hwmon on JetPack 5 and 6, iio on JetPack 4. No service, no rights.

`samples` and `update_interval` say how much the chip averages; they are reported if the driver has them.
"""

import glob
import os
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .missing import Missing

DEFAULT_INTERVAL_S = 0.2
# JetPack 4's iio driver by default makes the chip average 64 conversions of 2.2 ms of each of three channels.
IIO_AVERAGING_S = 0.42
I2C = "/sys/bus/i2c/devices"


class _Rail(NamedTuple):
    label: str
    volt_path: str  # mV
    current_path: str  # mA


def missing() -> Optional[Missing]:
    """Why this sensor cannot be read here, and how to fix it; None if it can be read."""
    rails = _rails()
    if rails:
        for rail in rails:
            try:
                _watts(rail)
            except OSError as error:
                return Missing(
                    "{}: {}".format(rail.current_path, error.strerror), "make it readable for users, or use jtop"
                )
            except ValueError:
                pass  # a reading that is empty now may be a number in a moment
        return None
    return Missing(
        "this machine has no INA3221 power monitor in {} (most Jetsons have one; the Nano 2GB has none)".format(I2C)
    )


def stream(interval: float, emit: Callable[[Dict[str, Any]], None], stopped: threading.Event) -> None:
    """Emit a sample every `interval` seconds until stopped; a rail that cannot be read is left out of its sample."""
    rails = _rails()
    labels = [rail.label for rail in rails]
    meta = {"sensor": "ina3221", "interval_s": interval, "rails": labels, "averaging_s": averaging_s(), "chip": _chip()}
    emit({"meta": meta})
    due = time.monotonic()
    while not stopped.is_set():
        power = {}
        for rail in rails:
            try:
                power[rail.label] = _watts(rail)
            except (OSError, ValueError):
                continue
        emit({"t": time.monotonic(), "power_w": power, "fresh": True})
        due += interval
        stopped.wait(max(0.0, due - time.monotonic()))


def _rails() -> List[_Rail]:
    rails: List[_Rail] = []
    for device in sorted(glob.glob(I2C + "/*")):
        if "ina3221" not in (_read(device + "/name") or ""):
            continue
        for label_path in sorted(glob.glob(device + "/hwmon/hwmon*/in*_label")):
            folder, number = os.path.dirname(label_path), os.path.basename(label_path)[2 : -len("_label")]
            # Channel 7 is the chip's sum of shunt voltages, not a rail; a channel without current is not a rail either.
            _add(rails, label_path, folder + "/in{}_input".format(number), folder + "/curr{}_input".format(number))
        for label_path in sorted(glob.glob(device + "/iio:device*/rail_name_*")):
            folder, number = os.path.dirname(label_path), label_path.rsplit("_", 1)[1]
            voltage, current = (folder + "/in_{}{}_input".format(what, number) for what in ("voltage", "current"))
            _add(rails, label_path, voltage, current)
    return rails


def _add(rails: List[_Rail], label_path: str, volt_path: str, current_path: str) -> None:
    label = _read(label_path)
    if label and label != "NC" and os.path.exists(current_path):
        rails.append(_Rail(label, volt_path, current_path))


def _watts(rail: _Rail) -> float:
    with open(rail.volt_path) as volt, open(rail.current_path) as current:
        return float(volt.read()) * float(current.read()) / 1e6


def averaging_s() -> float:
    """Seconds over which the chips average a reading: hwmon's cycle, iio's default, or 0 if unknown."""
    if glob.glob(I2C + "/*/iio:device*/rail_name_*"):
        return IIO_AVERAGING_S
    cycles = [_read(path) or "" for path in glob.glob(I2C + "/*/hwmon/hwmon*/update_interval")]
    return max((float(cycle) / 1e3 for cycle in cycles if cycle.isdigit()), default=0.0)


def _chip() -> Dict[str, str]:
    """Number of averaged samples and milliseconds between two conversions, if the driver reports them."""
    settings = {}
    for device in sorted(glob.glob(I2C + "/*/hwmon/hwmon*")):
        for name in ("samples", "update_interval"):
            value = _read(device + "/" + name)
            if value is not None:
                settings[name] = value
    return settings


def _read(path: str) -> Optional[str]:
    try:
        with open(path) as file:
            return file.read().strip("\0 \n")
    except OSError:
        return None
