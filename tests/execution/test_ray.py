"""Jobs on a real Ray cluster: a head with two CPUs, and a node that holds the token of a board. The jobs are made up.

Both nodes are on this machine, so they share its locks and its file system; the code under test relies on the former
alone.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from jetbench.records.folder import read_records
from tests.cli.test_verbs import jetbench
from tests.execution.made_up import ROOT, Study, wait_until
from tests.landed import count_landed
from tests.models.test_foreign import SOURCE
from tests.simulated.alive import is_alive

pytestmark = pytest.mark.ray


class Cluster:
    """A head, and nodes that come and go; each is a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.current = folder, folder / "current"
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.secret = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"

    def start_all(self) -> None:
        """The head and the board."""
        port = self.address.split(":")[1]
        self.start("head", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false")
        self.start("board", f"--address={self.address}", "--num-cpus=0", '--resources={"agx": 1}')

    def start(self, name: str, *options: str) -> None:
        """Start a node and wait until it is there."""
        log = (self.folder / f"{name}.log").open("wb")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        more = [f"--temp-dir={self.folder}/r"] if "--head" in options else []
        self.nodes[name] = subprocess.Popen(
            [*command, *more, *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "MADE_UP": str(self.current),
                "JETBENCH_LOCKS": str(self.folder),
                **self.secret,
            },
        )
        log.close()
        path = self.folder / f"{name}.log"
        wait_until(lambda: b"Ray runtime started" in path.read_bytes(), f"node {name}", 90, self.nodes[name])

    def kill(self, name: str) -> None:
        """Kill a node with all that belongs to it, as when its power fails."""
        group = self.nodes.pop(name)
        for path in Path("/proc").glob("[0-9]*"):
            try:
                session = int((path / "stat").read_text().rsplit(")", 1)[1].split()[3])
            except OSError:
                continue
            if session == group.pid:
                os.kill(int(path.name), signal.SIGKILL)
        group.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="needs Ray: pip install 'jetbench[ray]'")
    folder = Path("/tmp") / f"jb-ray-{os.getpid()}"  # short: its sockets' names have a limit
    folder.mkdir()
    cluster = Cluster(folder)
    try:
        cluster.start_all()
        yield cluster
    finally:
        for name in list(cluster.nodes):
            cluster.kill(name)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def study(cluster: Cluster, tmp_path: Path) -> Iterator[Study]:
    cluster.current.unlink(missing_ok=True)
    cluster.current.symlink_to(tmp_path)
    study = Study(tmp_path)
    yield study
    study.end()
    wait_until(lambda: not study.working(), "the end of all jobs", 30)


def settings(cluster: Cluster, **more: Any) -> dict[str, Any]:
    return {
        "ray": cluster.address,
        "board": "agx",
        "wait": 60,
        "JETBENCH_LOCKS": cluster.folder,
        **cluster.secret,
        **more,
    }


def test_trainings_run_on_cpus_profiles_one_at_a_time_on_the_board_and_all_comes_back(
    study: Study, cluster: Cluster
) -> None:
    lines = "20000"
    (study.base / "lines").write_text(lines)
    text = study.run(4, **settings(cluster, MADE_UP_SECONDS=1.5))
    assert len(study.records()) == 4
    assert all(record.failure is None for record in study.records().values())
    assert not [m for m in study.marks() if m["event"] == "beside" and m["others"]]
    for seed, record in enumerate(sorted(study.records().values(), key=lambda r: r.recipe.seed)):
        assert record.profile
        assert record.profile.model_latency
        assert record.profile.model_latency.median_s == pytest.approx(0.001 * (1 + seed))
        for phase in ("train", "profile"):
            # More than a letter holds, and all of it.
            log = study.folder / "jobs" / f"{record.key}-{phase}" / "log.txt"
            assert log.read_text().splitlines() == [f"line {number}" for number in range(int(lines))]
    assert len(list((study.folder / "weights").iterdir())) == 4
    assert "train seed=0 begins" in text
    assert "profile seed=" in text
    study.run(4, **settings(cluster))
    assert len(study.marks()) == 4 * 5  # begin and end of each, and what a profile saw beside it


def test_failures_are_told_apart_as_on_one_machine(study: Study, cluster: Cluster) -> None:
    study.script(
        train_0=["kill"], train_1=["exit", "exit"], train_2=["raise"], train_3=["deaf"], train_4=["memory 16"],
        train_5=["diverge"],
    )  # fmt: skip
    text = study.run(7, code=3, **settings(cluster, timeout=4, memory="400MiB"))
    found = study.records()
    assert "seed=0: train lost (the process was killed by SIGKILL (on " in text
    failures = {f"seed={n}": record.failure for n in range(7) if (record := found[f"seed={n}"])}
    assert failures["seed=0"] is None
    assert failures["seed=6"] is None
    told = {name: failure.status for name, failure in failures.items() if failure}
    assert told == {
        "seed=1": "lost", "seed=2": "error", "seed=3": "timeout", "seed=4": "oom", "seed=5": "diverged"
    }  # fmt: skip
    raised = failures["seed=2"]
    assert raised
    assert raised.reason.startswith("ValueError: bad shape (on ")
    log = study.folder / "jobs" / f"{found['seed=2'].key}-train" / "log.txt"
    assert "Traceback" in log.read_text()
    assert "about to leave" in (study.folder / "jobs" / f"{found['seed=1'].key}-train" / "log.txt").read_text()


def test_a_node_that_is_lost_is_waited_for_and_its_profile_is_measured_anew(study: Study, cluster: Cluster) -> None:
    process = study.start(2, **settings(cluster, MADE_UP_SECONDS=4))
    wait_until(lambda: any(m["phase"] == "profile" for m in study.working()), "a profile", 90, process)
    cluster.kill("board")
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if "no machine of the cluster has it" in line:
            break
    assert any("profile lost (" in line and "trying once more" in line for line in said), said
    assert "is waiting for agx: no machine of the cluster has it" in said[-1]
    cluster.start("board", f"--address={cluster.address}", "--num-cpus=0", '--resources={"agx": 1}')
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert len(study.records()) == 2
    assert not [m for m in study.marks() if m["event"] == "beside" and m["others"]]


def test_what_no_machine_has_is_waited_for_only_so_long(study: Study, cluster: Cluster) -> None:
    text = study.run(1, code=3, **settings(cluster, board="orin-nano", wait=4))
    assert "profile seed=0 is waiting for orin-nano: no machine of the cluster has it" in text
    failure = study.records()["seed=0"].failure
    assert failure
    assert (failure.phase, failure.status) == ("profile", "timeout")
    assert "for orin-nano, which no machine of the cluster has (--wait)" in failure.reason
    assert study.records()["seed=0"].training is not None


def test_jobs_end_with_a_killed_driver_and_the_next_one_repeats_nothing(study: Study, cluster: Cluster) -> None:
    first = study.start(5, **settings(cluster, MADE_UP_SECONDS=1))
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 1, "a row", 90, first)
    wait_until(study.working, "a job", 30, first)
    pids = [m["pid"] for m in study.working()]
    first.kill()
    first.communicate()
    wait_until(lambda: not any(map(is_alive, pids)), "the end of its jobs", 20)
    there = set(study.records())
    study.run(5, **settings(cluster))
    assert len(study.records()) == 5
    ends = [(m["seed"], m["phase"]) for m in study.marks() if m["event"] == "end"]
    assert all(ends.count((int(name.removeprefix("seed=")), "profile")) == 1 for name in there)
    assert not [m for m in study.marks() if m["event"] == "beside" and m["others"]]


def test_ctrl_c_ends_jobs_on_all_nodes(study: Study, cluster: Cluster) -> None:
    process = study.start(3, **settings(cluster, MADE_UP_SECONDS=20))
    wait_until(study.working, "a job", 90, process)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=40)
    assert process.returncode == 130, text
    assert "Traceback" not in text
    wait_until(lambda: not study.working(), "the end of all jobs", 10)
    assert time.monotonic() - begun < 20


SWEEP = """
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 16, val: 6, test: 4}
training: {budget: 6 steps, batch_size: 4, evaluations: 2}
profiling: {warmup_iterations: 1, min_iterations: 3, min_seconds: 0, precision: 1}
variants: []
"""


def test_a_real_training_gives_the_same_numbers_and_a_machine_is_not_taken_for_a_board_that_it_is_not(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    secret = {**cluster.secret, "JETBENCH_LOCKS": str(cluster.folder)}
    text = jetbench(
        "sweep",
        "tiny.yaml",
        "--ray",
        cluster.address,
        "--device",
        "agx",
        "--name",
        "far",
        cwd=tmp_path,
        code=3,
        **secret,
    )
    assert "1 variant" in text
    (far,) = read_records(tmp_path / "reports" / "far")
    assert far.failure
    assert far.failure.phase == "profile"
    assert "must profile as agx, but is not a Jetson AGX Xavier" in far.failure.reason
    jetbench("sweep", "tiny.yaml", "--name", "near", cwd=tmp_path)
    (near,) = read_records(tmp_path / "reports" / "near")
    assert far.training
    assert near.training
    assert far.training.loss_curve == near.training.loss_curve
    assert far.training.test == near.training.test
    weights = [next((tmp_path / "reports" / name / "weights").glob("*.safetensors")) for name in ("far", "near")]
    # Not byte by byte: safetensors writes metadata in any order.
    with safe_open(weights[0], "pt") as one, safe_open(weights[1], "pt") as other:
        assert one.metadata() == other.metadata()
        assert list(one.keys()) == list(other.keys())
        assert all(torch.equal(one.get_tensor(name), other.get_tensor(name)) for name in one.keys())  # noqa: SIM118
    refused = jetbench("sweep", "tiny.yaml", "--device", "agx", "--name", "other", cwd=tmp_path, code=2)
    assert "this machine is not a Jetson AGX Xavier" in refused


def test_a_teacher_that_stands_here_teaches_on_another_machine(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP + "profile: false\n")
    jetbench("sweep", "tiny.yaml", "--name", "teacher", cwd=tmp_path)
    (teacher,) = (tmp_path / "reports" / "teacher" / "weights").glob("*.safetensors")
    taught = []
    for name, options, secret in (
        ("near", (), {}),
        ("far", ("--ray", cluster.address), {**cluster.secret, "JETBENCH_LOCKS": str(cluster.folder)}),
    ):
        jetbench(
            "sweep",
            "tiny.yaml",
            "--set",
            f"training.teacher={teacher}",
            "--set",
            "training.seed=1",
            "--name",
            name,
            *options,
            cwd=tmp_path,
            code=0,
            **secret,
        )
        (record,) = read_records(tmp_path / "reports" / name)
        assert record.training
        assert record.recipe.teacher == str(teacher)
        taught.append((record.key, record.training))
    (key, near), (other_key, far) = taught
    assert key == other_key
    assert far.teacher
    assert far.teacher.startswith("jetseg-nano (")
    assert near.teacher == far.teacher
    assert near.loss_curve == far.loss_curve
    assert near.test == far.test


OWN_LOSS = """
import os
import torch.nn.functional as F

assert "jetbench-job-" in __file__ or "NEAR" in os.environ, "the source of the driver's machine"


def entropy():
    return lambda logits, target: F.cross_entropy(logits, target, ignore_index=255)
"""


def test_the_source_of_ones_own_network_and_loss_is_sent_with_the_job(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from parts import build\n")
    (tmp_path / "parts.py").write_text(SOURCE)
    (tmp_path / "mine.yaml").write_text("model: net.py:build\n")
    (tmp_path / "own.py").write_text(OWN_LOSS)
    own = SWEEP.replace("jetseg-nano", "mine.yaml").replace("evaluations: 2", 'evaluations: 2, loss: "own.py:entropy"')
    (tmp_path / "tiny.yaml").write_text(own + "profile: false\n")
    secret = {**cluster.secret, "JETBENCH_LOCKS": str(cluster.folder)}
    jetbench("sweep", "tiny.yaml", "--ray", cluster.address, "--name", "far", cwd=tmp_path, code=0, **secret)
    jetbench("sweep", "tiny.yaml", "--name", "near", cwd=tmp_path, NEAR="1")
    (far,), (near,) = (read_records(tmp_path / "reports" / name) for name in ("far", "near"))
    assert far.key == near.key
    assert far.training
    assert near.training
    assert far.training.loss_curve == near.training.loss_curve


def test_a_lost_head_ends_the_driver_with_a_word_and_a_new_cluster_goes_on(study: Study, cluster: Cluster) -> None:
    """Last: it ends the cluster that the others share."""
    process = study.start(6, **settings(cluster, MADE_UP_SECONDS=1))
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 1, "a row", 90, process)
    cluster.kill("head")
    begun = time.monotonic()
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 2, text
    assert "has not answered for 20 s. Finished rows are kept" in text
    assert time.monotonic() - begun < 60
    wait_until(lambda: not study.working(), "the end of all jobs", 90)
    there = set(study.records())
    assert there
    study.run(6, board="agx")  # on this machine
    assert len(study.records()) == 6
