"""Place: where a study is kept, and where its jobs run: this machine, or a cluster of Ray."""

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
    """Where a study is kept and where its jobs run.

    Args:
        reports: the folder of report folders.
        jobs: trainings side by side on this machine; as many as it has cores or GPUs for by default.
        ray: the address of a Ray cluster; None runs jobs on this machine.
        storage: the address of a database for the Optuna study; study.db in the report folder by default.
        wait_s: seconds that a full disk, a storage that is away, or what a cluster lacks is waited for.
    """

    reports: Path = Path("reports")
    jobs: int | None = None
    ray: str | None = None
    storage: str | None = None
    wait_s: float = STORAGE_WAIT_S

    def check(self) -> None:
        """Refuse a storage address that is none, before anything runs.

        Raises:
            SpecError: it is no address that can be used here.
        """
        if self.storage is not None:
            from jetbench.study.storage import storage_url

            storage_url(self.storage, Path())

    def open(self, asked: Sweep | Search, threads: int) -> "tuple[str, Callable[[], Executor]]":
        """The torch device of the trainings, and what makes an executor.

        Args:
            asked: what will run.
            threads: of one training, at most.

        Raises:
            SpecError: there is no such device or cluster, or this machine is not the board that is asked for.
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
            raise SpecError("--jobs: with --ray, the cluster's CPUs and GPUs say how many trainings run; leave it out")
        from jetbench.execution.ray import RayExecutor, connect

        has_gpu = connect(address, token).get("GPU", 0) > 0
        if wanted == "cuda" and not has_gpu:
            raise SpecError(f"--torch-device cuda: no machine of the cluster {address} offers Ray a GPU")
        device = "cuda" if has_gpu and wanted != "cpu" else "cpu"
        training = {"gpu": 1} if device == "cuda" else {"cpu": threads}
        return device, lambda: RayExecutor(training, token, self.wait_s)
