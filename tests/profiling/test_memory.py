import subprocess
import sys

# In a process of its own: memory that other tests have left resident would hide a pass's growth.
PROGRAM = """
import torch
from torch import nn
from jetbench.profiling.memory import measure_peak_memory
torch.set_num_threads(1)

class Hungry(nn.Module):
    def forward(self, x):
        held = [torch.ones(x.shape[-1], 1024, 256) for _ in range(4)]  # 4 MiB per pixel column and tensor / 4
        return x + sum(tensor.sum() for tensor in held)

peak, how = measure_peak_memory(Hungry().eval(), torch.zeros(1, 3, 8, 96))
print(peak, how)
"""


def test_the_peak_of_a_pass_is_found_within_a_tenth() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    peak, how = done.stdout.split(maxsplit=1)
    grown = 4 * (96 - 64) * 1024 * 256 * 4  # beyond what the small first pass has already left resident
    held = 4 * 96 * 1024 * 256 * 4
    assert "growth of the process" in how
    assert 0.9 * grown <= int(peak) <= 1.1 * held
