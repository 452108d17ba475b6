"""Place: where a study is stored, and where its jobs run: on this machine or on a Ray cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetbench.errors import SpecError
from jetbench.execution.executor import check_threads, token_of
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.study.driver import STORAGE_WAIT_S

if TYPE_CHECKING:
    from jetbench.execution.executor import Executor


@dataclass(frozen=True)
class Place:
    """Where a study is stored and where its jobs run.

    Args:
        reports: the folder of report folders.
        jobs: number of trainings at once on this machine; by default as many as its cores or its GPU allow.
        ray: the address of a Ray cluster; None runs jobs on this machine.
        storage: the address of a database for the Optuna study; study.db in the report folder by default.
        wait_s: seconds to wait for a full disk, an unavailable storage, or a resource that a cluster lacks.
    """

    reports: Path = Path("reports")
    jobs: int | None = None
    ray: str | None = None
    storage: str | None = None
    wait_s: float = STORAGE_WAIT_S
    on: str | None = None

    def check(self) -> None:
        """Raise if the storage address is not valid, before anything runs.

        Raises:
            SpecError: the address cannot be used here.
        """
        if self.on is not None and self.ray is not None:
            raise SpecError(
                "--on and --ray: on a cluster a machine that holds the board's token reaches it; leave one out"
            )
        if self.storage is not None:
            from jetbench.study.storage import storage_url

            storage_url(self.storage, Path())

    def open(self, asked: Sweep | Search, threads: int) -> "tuple[str, Callable[[], Executor]]":
        """The torch device of the trainings, and a function that makes an executor.

        Args:
            asked: the sweep or search that will run.
            threads: the most threads of one training.

        Raises:
            SpecError: the device or cluster does not exist, or a setting needs more threads than there are cores.
        """
        token = token_of(asked.board)
        if self.ray is not None:
            return self._open_cluster(self.ray, asked.device, threads, token)
        from jetbench.execution.local import LocalExecutor, choose_device, local_slots

        check_threads("training.threads", threads)
        device = choose_device(asked.device)
        slots = local_slots(device, threads, self.jobs, token)
        width = slots["gpu"] if device == "cuda" else slots["cpu"] // threads
        return device, lambda: LocalExecutor(slots, width).prepare()

    def _open_cluster(
        self, address: str, wanted: str, threads: int, token: str
    ) -> "tuple[str, Callable[[], Executor]]":
        if self.jobs is not None:
            raise SpecError(
                "--jobs: with --ray, the cluster's CPUs and GPUs determine how many trainings run; leave --jobs out"
            )
        from jetbench.execution.ray import RayExecutor, connect

        has_gpu = connect(address, token).get("GPU", 0) > 0
        if wanted == "cuda" and not has_gpu:
            raise SpecError(f"--torch-device cuda: no machine of the cluster {address} has a GPU in Ray")
        device = "cuda" if has_gpu and wanted != "cpu" else "cpu"
        training = {"gpu": 1} if device == "cuda" else {"cpu": threads}
        return device, lambda: RayExecutor(training, token, self.wait_s)
