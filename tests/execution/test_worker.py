"""What a job's own process leaves in its folder."""

from pathlib import Path

from jetbench import load_architecture
from jetbench.execution.requests import JobRequest, ProfileRequest, UntrainedNetwork
from jetbench.execution.worker import main
from jetbench.files import read_json, write_json
from jetbench.spec.profiling import ProfilingConfig


def test_a_profile_that_does_not_fit_into_memory_is_out_of_memory_and_no_error(tmp_path: Path) -> None:
    network = UntrainedNetwork(architecture=load_architecture("jetseg-nano"), num_classes=11, input_size=(99999, 99999))
    request = JobRequest(profile=ProfileRequest(untrained=network, profiling=ProfilingConfig(), device="cpu"))
    write_json(tmp_path / "request.json", request.model_dump(mode="json"))
    assert main(tmp_path) == 1
    found = read_json(tmp_path / "failure.json")
    assert found is not None
    assert found["status"] == "oom"
    assert "does not fit into this machine's memory" in found["reason"]
