import torch

from jetbench import load_architecture, plan_architecture
from jetbench.models.decoder import RegSegDecoder


def decoder(name: str) -> tuple[RegSegDecoder, list[torch.Tensor]]:
    plan = plan_architecture(load_architecture(name), 5, (272, 272))
    torch.manual_seed(0)
    module = RegSegDecoder(plan.decoder, "reu").eval()
    return module, [torch.randn(1, tap.channels, *tap.size) for tap in plan.decoder.taps]


def test_in_the_paper_form_every_tap_reaches_the_output() -> None:
    module, features = decoder("jetseg-nano")
    before = module(features)
    for number in range(3):
        changed = [f + 1 if i == number else f for i, f in enumerate(features)]
        assert not torch.allclose(module(changed), before)


def test_in_the_released_form_the_deepest_tap_reaches_nothing() -> None:
    module, features = decoder("jetseg-nano-released")
    before = module(features)
    assert torch.equal(module([features[0] + 1, *features[1:]]), before)
    assert not torch.allclose(module([features[0], features[1] + 1, features[2]]), before)


def test_logits_have_the_shallowest_taps_size() -> None:
    module, features = decoder("jetseg-nano")
    assert module(features).shape == (1, 5, *features[2].shape[-2:])
