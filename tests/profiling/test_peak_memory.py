import torch
from torch import Tensor, nn

from jetbench import build_model, load_architecture
from jetbench.profiling.peak_memory import measure_peak_memory


class Hungry(nn.Module):
    """Holds four tensors of 1 MiB at once, after one of 2 MiB that is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(100))

    def forward(self, x: Tensor) -> Tensor:
        passing = torch.empty(2, 256, 1024)
        del passing
        held = [torch.empty(256, 1024) for _ in range(4)]
        return x.clone() if held else x


def test_the_peak_is_weights_input_and_what_was_held_at_once() -> None:
    images = torch.zeros(1, 3, 16, 16)
    peak, how = measure_peak_memory(Hungry().eval(), images)
    assert "most that torch's allocator held at once" in how
    # The output is made while the four are held.
    assert peak == 100 * 4 + 2 * images.nbytes + 4 * 2**20


def test_a_network_has_the_same_peak_every_time_and_a_larger_one_for_larger_images() -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, (64, 96)).eval()
    small, large = torch.zeros(1, 3, 64, 96), torch.zeros(1, 3, 128, 192)
    first, _ = measure_peak_memory(model, small)
    again, _ = measure_peak_memory(model, small)
    more, _ = measure_peak_memory(model, large)
    assert first is not None
    assert more is not None
    assert first == again
    assert 3 * first < more < 4.2 * first
