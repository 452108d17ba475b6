import pytest
import torch
from torch import Tensor, nn

from jetbench import build_model, load_architecture
from jetbench.models.jetseg import JetSeg
from jetbench.spec.catalog import jetseg_names
from tests.models.reference import released_forward

# base, max, max expanded channels and repeats of jetseg.md's presets, written again on purpose.
PRESETS = {
    "nano": (8, 64, 64, [0, 0, 1, 1]),
    "agx": (16, 256, 256, [0, 2, 4, 2]),
    "workstation": (32, 512, 1024, [0, 2, 4, 2]),
}


def with_lively_norms(model: nn.Module) -> nn.Module:
    """Fresh statistics would hide a norm in the wrong place; small ones keep the released form's sums finite."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def flat_state(model: nn.Module) -> list[Tensor]:
    return [tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")]


@pytest.mark.parametrize("combination", range(6))
@pytest.mark.parametrize("size", [(272, 272), (150, 321), (512, 256)])
def test_every_released_combination_computes_the_released_function(combination: int, size: tuple[int, int]) -> None:
    torch.manual_seed(combination)
    architecture = load_architecture("jetseg-nano-released", combination=combination)
    model = with_lively_norms(build_model(architecture, 7, size))
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected = released_forward(images, flat_state(model), combination, *PRESETS["nano"])
        actual = model(images)
    assert actual.shape == (2, 7, *size)
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("preset", ["agx", "workstation"])
def test_the_larger_released_presets_compute_the_released_function(preset: str) -> None:
    torch.manual_seed(0)
    size = (144, 300)
    model = with_lively_norms(build_model(load_architecture(f"jetseg-{preset}-released"), 5, size))
    images = torch.randn(1, 3, *size)
    with torch.inference_mode():
        expected = released_forward(images, flat_state(model), 0, *PRESETS[preset])
        actual = model(images)
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max()


def dead_parameters(model: nn.Module, size: tuple[int, int]) -> list[str]:
    """Names of parameters that one backward pass leaves without a gradient, or with zeros only."""
    model.train()
    logits = model(torch.randn(2, 3, *size))
    (logits * torch.randn_like(logits)).sum().backward()
    return [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize("size", [(272, 272), (180, 240)])
@pytest.mark.parametrize("name", ["jetseg-nano", "jetseg-agx", "jetseg-workstation"])
def test_the_paper_form_has_no_dead_parameter(name: str, size: tuple[int, int]) -> None:
    for seed in range(3 if name == "jetseg-nano" else 1):
        torch.manual_seed(seed)
        assert dead_parameters(build_model(load_architecture(name), 11, size), size) == []


@pytest.mark.parametrize("combination", range(6))
def test_the_released_form_is_dead_below_its_middle_tap(combination: int) -> None:
    torch.manual_seed(0)
    size = (272, 272)
    # relu_ in the release's CBAM may be dead by chance; without it, what is dead is dead by construction.
    architecture = load_architecture("jetseg-nano-released", combination=combination, **{"stages.s1.attention": "cbam"})
    model = build_model(architecture, 11, size)
    assert isinstance(model, JetSeg)
    middle = sorted(model.encoder.tapped)[1]
    dead = dead_parameters(model, size)
    below = [f"encoder.blocks.{number}." for number in range(middle + 1, len(model.encoder.blocks))]
    expected = [n for n, _ in model.named_parameters() if n.startswith((*below, "decoder.heads.0."))]
    print(f"combination {combination}: dead are {', '.join(dead)}")
    assert dead == expected


def test_a_third_of_the_released_nano_is_dead() -> None:
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano-released"), 32, (512, 512))
    dead = set(dead_parameters(model, (512, 512)))
    assert sum(p.numel() for n, p in model.named_parameters() if n in dead) == 11_164


@pytest.mark.parametrize("name", jetseg_names())
def test_every_bundled_jetseg_keeps_the_images_size(name: str) -> None:
    with torch.device("meta"):
        model = build_model(load_architecture(name), 4, (272, 300))
        assert model(torch.empty(2, 3, 272, 300)).shape == (2, 4, 272, 300)


def test_the_call_of_the_readme() -> None:
    model = build_model(load_architecture("jetseg-nano-released", combination=3), num_classes=32, input_size=(512, 256))
    with torch.inference_mode():
        assert model.eval()(torch.randn(1, 3, 512, 256)).shape == (1, 32, 512, 256)
