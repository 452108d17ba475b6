"""What holds for every baseline: a new one in `BASELINES` inherits both parametrised tests at the top."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from jetbench import build_model, load_architecture
from jetbench.errors import SpecError
from jetbench.models.baselines import BASELINES
from jetbench.models.build import compile_whole, without_training_heads
from jetbench.network.plan import BaselinePlan
from jetbench.profiling.counts import count_with_torch
from jetbench.profiling.listing import count_training_only, list_network
from jetbench.spec.architecture import Baseline, BaselineName
from jetbench.spec.catalog import baseline_names

NAMES = tuple(BASELINES)
CLASSES = 7


def with_fixed_norms(model: nn.Module) -> nn.Module:
    """In training mode but for the norms: by a batch's own statistics they take out what a bias before them adds."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def outputs_of(model: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    found = model(images)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(
    # FCN-8s has 134 million parameters.
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "fcn8s")) for name in NAMES],
)
def test_a_baseline_segments_images_of_any_size_and_all_of_it_learns(name: BaselineName) -> None:
    torch.manual_seed(0)
    model = build_model(load_architecture(name), CLASSES, (64, 64))
    heads = getattr(model, "auxiliary_weights", ())
    assert bool(heads) == bool(getattr(model, "training_only", ()))

    found = outputs_of(with_fixed_norms(model), torch.randn(2, 3, 71, 101))
    assert len(found) == 1 + len(heads)
    assert found[0].shape == (2, CLASSES, 71, 101)
    assert all(output.shape in ((2, CLASSES, 71, 101), (2, 1, 71, 101)) for output in found[1:])
    total = torch.stack([(output * torch.randn_like(output)).sum() for output in found]).sum()
    torch.autograd.backward(total)
    dead = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)

    model.eval()
    with torch.no_grad():
        for size in ((64, 64), (96, 130)):
            logits = model(torch.zeros(1, 3, *size))
            assert logits.shape == (1, CLASSES, *size)
        images = torch.randn(1, 3, 64, 64)
        whole = model(images)
        before = sum(p.numel() for p in model.parameters())
        assert torch.equal(without_training_heads(model)(images), whole)
    # What is counted is what is left, to the unit, and MACs are what torch's own counter sees.
    plan = BaselinePlan(name, (64, 64), CLASSES)
    operations = list_network(plan)
    deployed = sum(p.numel() for p in model.parameters())
    assert sum(operation.parameters for operation in operations) == deployed
    assert count_training_only(plan) == before - deployed
    assert 2 * sum(operation.macs for operation in operations) == count_with_torch(model, images).total
    assert [op.kernel for op in operations if op.kind == "uncounted"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_can_be_compiled(name: BaselineName) -> None:
    """Exports are in tests/deploy."""
    torch.manual_seed(0)
    model = build_model(load_architecture(name), CLASSES, (64, 96)).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model(images)
        torch._dynamo.reset()
        compiled = compile_whole(model, backend="eager")(images)  # one graph; what a backend makes of it is not ours
    assert torch.allclose(compiled, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_the_register_the_names_and_the_shelf_agree() -> None:
    assert get_args(BaselineName) == NAMES
    baselines = [load_architecture(name) for name in baseline_names()]
    assert all(isinstance(baseline, Baseline) for baseline in baselines)
    built = {
        baseline.name: baseline.network for baseline in baselines if isinstance(baseline, Baseline) and baseline.network
    }
    assert built == {name: name for name in NAMES}
    approximate = {
        baseline.name for baseline in baselines if isinstance(baseline, Baseline) and baseline.fidelity == "approximate"
    }
    assert {"fpenet", "adscnet", "dfanet", "thundernet"} <= approximate
    assert {r.name for r in baselines if isinstance(r, Baseline) and r.fidelity == "quoted"} == {"mfenet", "efnet"}


# Parameters of the authors' code, of some older networks of a rebuild of the paper's layers, for 11 and 19 classes.
PUBLISHED = {
    "linknet": (11_534_667, 11_535_699),
    "cgnet": (494_258, 496_306),
    "dsanet": (3_119_552, 3_124_160),
    "regseg": (3_334_431, 3_334_951),
    "enet": (363_791, 364_311),
    "espnetv2": (782_868, 787_968),
    "dabnet": (754_571, 756_643),
    "mininetv2": (512_521, 517_137),
    "wfdcnet": (503_076, 504_612),
    "segnet": (29_449_355, 29_453_971),
    "unet": (31_038_283, 31_038_803),
    "fcn8s": (134_348_929, 134_456_985),
    "ddrnet23-slim": (5_733_302, 5_734_342),
    "pidnet-s": (7_718_871, 7_720_935),
    "stdc1": (8_569_824, 8_572_896),
    "ppliteseg-t": (8_140_320, 8_141_600),
    "bisenetv2": (5_212_375, 5_231_487),
}
# Built by that code and never used, so not built here; the file's head says so.
UNUSED = {"espnetv2": 480}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_reference_to_the_unit(name: str) -> None:
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in build_model(load_architecture(name), classes, (64, 64)).parameters())
            for classes in (11, 19)
        ]
    assert [count + UNUSED.get(name, 0) for count in counts] == list(PUBLISHED[name])


@pytest.mark.parametrize(
    ("name", "millions"), [("fpenet", 0.36), ("adscnet", 0.507), ("thundernet", 4.7), ("fastscnn", 1.14)]
)
def test_what_is_approximate_is_as_large_as_its_file_says(name: BaselineName, millions: float) -> None:
    deployed = sum(operation.parameters for operation in list_network(BaselinePlan(name, (64, 64), 11)))
    assert deployed == pytest.approx(1e6 * millions, rel=0.02)


# Multiply-accumulates of convolutions, measured on the authors' code, in 10^9, to the digits that are known.
@pytest.mark.parametrize(
    ("name", "classes", "size", "giga", "digits"),
    [
        ("linknet", 11, (360, 640), 9.67, 2),
        ("linknet", 11, (512, 512), 10.81, 2),
        ("cgnet", 11, (512, 512), 3.37, 2),
        ("cgnet", 11, (360, 480), 2.22, 2),
        ("dsanet", 11, (512, 512), 11.48, 2),
        ("regseg", 19, (1024, 2048), 38.35, 2),
        ("espnetv2", 20, (512, 1024), 2.698, 3),
        ("mininetv2", 19, (512, 1024), 6.40, 2),
        ("wfdcnet", 19, (512, 1024), 5.34, 2),
    ],
)
def test_macs_are_those_of_the_reference(
    name: BaselineName, classes: int, size: tuple[int, int], giga: float, digits: int
) -> None:
    macs = sum(operation.macs for operation in list_network(BaselinePlan(name, size, classes)))
    assert round(macs / 1e9, digits) == giga


def test_the_inference_of_dsanet_does_not_use_its_attended_heads() -> None:
    assert sum(operation.parameters for operation in list_network(BaselinePlan("dsanet", (64, 64), 11))) == 1_817_536


def test_fcn8s_begins_as_bilinear_interpolation() -> None:
    model = build_model(load_architecture("fcn8s"), 2, (64, 64))
    ramp = torch.arange(8.0).expand(1, 2, 8, 8)
    up = model.get_submodule("up3")(ramp)[..., 60, 20:60]
    assert torch.allclose(up.diff(dim=-1), torch.tensor(1 / 8), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "classes", "size", "message"),
    [
        ("linknet", 1, (64, 64), "linknet: num_classes=1 must be at least 2"),
        ("linknet", 11, (63, 200), "input size 63x200 is too small; baselines take at least 64x64"),
        ("mfenet", 11, (64, 64), "mfenet: too little is published to build it"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, classes: int, size: tuple[int, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_model(load_architecture(name), classes, size)
