"""optuna-dashboard for a running study."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from jetbench.errors import SpecError
from jetbench.probe.alone import die_with


@contextmanager
def dashboard_of(folder: Path, wanted: bool = True) -> Iterator[str | None]:
    """Run optuna-dashboard on the folder's study inside the context; yields its address, on this machine only.

    Raises:
        SpecError: optuna-dashboard is not installed.
    """
    if not wanted:
        yield None
        return
    if find_spec("optuna_dashboard") is None:
        raise SpecError("--dashboard needs optuna-dashboard: pip install 'jetbench[search]'")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "import sys; from optuna_dashboard._cli import main; sys.exit(main())"
    from optuna.storages import RDBStorage

    from jetbench.study.storage import DATABASE

    storage = f"sqlite:///{(folder / DATABASE).resolve()}"
    RDBStorage(storage)  # makes the database's tables, without which the dashboard does not start
    command = [sys.executable, "-c", code, storage, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=partial(die_with, os.getpid()),  # so that it ends with this command, however that ends
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()
