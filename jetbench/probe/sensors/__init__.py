"""Sources of watts and joules, one file each: what is missing to read it here, and a stream of samples."""

from typing import Any, Callable, Dict

from . import ina3221, jtop, nvml, rapl

Emit = Callable[[Dict[str, Any]], None]

# In the order in which they are preferred where several can be read. On a Jetson jtop comes first: it also tells the
# board and its power mode. The others measure what their name says, never the whole machine.
SENSORS = {"jtop": jtop, "ina3221": ina3221, "nvml": nvml, "rapl": rapl}
