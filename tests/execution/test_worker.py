"""What a job's own process leaves in its folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from jetbench import load_architecture
from jetbench.execution.requests import JobRequest, ProfileRequest, UntrainedNetwork
from jetbench.execution.worker import main
from jetbench.files import read_json, write_json
from jetbench.spec.profiling import ProfilingConfig

LIMITED = """
import resource, sys
from pathlib import Path
from jetbench.execution.worker import main
resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31))
sys.exit(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_profile_that_does_not_fit_into_memory_is_out_of_memory_and_no_error(tmp_path: Path) -> None:
    network = UntrainedNetwork(architecture=load_architecture("jetseg-nano"), num_classes=11, input_size=(6000, 6000))
    request = JobRequest(profile=ProfileRequest(untrained=network, profiling=ProfilingConfig(), device="cpu"))
    write_json(tmp_path / "request.json", request.model_dump(mode="json"))
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    found = read_json(tmp_path / "failure.json")
    assert found is not None
    assert found["status"] == "oom"
    assert "does not fit into this machine's memory" in found["reason"]


def test_a_request_that_is_none_is_refused_by_its_file_and_field(tmp_path: Path) -> None:
    request = JobRequest(profile=ProfileRequest(weights_file="w", profiling=ProfilingConfig(), device="cpu"))
    raw = request.model_dump(mode="json")
    raw["profile"]["profiling"]["threads"] = True
    write_json(tmp_path / "request.json", raw)
    done = subprocess.run([sys.executable, "-m", "jetbench.execution.worker", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2
    assert "request.json: profile.profiling.threads: expected a number, found true" in done.stderr
    assert main(tmp_path / "nowhere") == 2
