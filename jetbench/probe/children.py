"""Commands that run a module of this package in a process of its own, here and in a bundle on a board.

Needs Python 3.6.
"""

import os
import sys
from pathlib import Path
from typing import Any, Dict, List

PACKAGE = __name__.rpartition(".")[0]
HERE = Path(__file__).resolve().parent


def command_of(module: str, *arguments: str) -> List[str]:
    """The command for a module such as `build_engine`; run it with `environment()` and in the folder `/`.

    In a bundle this package lies in a folder that no Python knows, so the command names it.
    """
    name = "{}.{}".format(PACKAGE, module)
    if "." in PACKAGE:
        return [sys.executable, "-m", name, *arguments]
    code = "import runpy, sys; sys.path.insert(0, {!r}); runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", code.format(str(HERE.parent), name), *arguments]


def environment(**more: str) -> Dict[str, Any]:
    """The environment of such a process, in which no folder hides a module.

    Python 3.10 has no safe path: run in `/`, where nobody has put modules of his own.
    """
    return dict(os.environ, PYTHONSAFEPATH="1", **more)
