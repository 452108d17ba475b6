"""Power and energy sensors, one file each: what is missing to read it here, and a stream of samples."""

from typing import Any, Callable, Dict

from . import ina3221, jtop, nvml, rapl

Emit = Callable[[Dict[str, Any]], None]

# In order of preference where several can be read. On a Jetson jtop comes first, because it also reports the board and
# its power mode. The others measure the part that they are named for, never the whole machine.
SENSORS = {"jtop": jtop, "ina3221": ina3221, "nvml": nvml, "rapl": rapl}
