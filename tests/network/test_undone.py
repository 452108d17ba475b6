"""Choices undone: each changes what it names, counts follow, and what changes nothing is left out."""

from jetbench import load_architecture
from jetbench.network.closed_form import QuickCost, cost_of
from jetbench.network.plan import BlockPlan, plan_architecture
from jetbench.network.undone import Undone, undo_choices
from jetbench.spec.architecture import Architecture

SIZE = (256, 512)


def nano() -> Architecture:
    found = load_architecture("jetseg-nano")
    assert isinstance(found, Architecture)
    return found


def undone(architecture: Architecture) -> dict[str, Undone]:
    return {each.words: each for each in undo_choices(architecture, 11, SIZE)}


def blocks(architecture: Architecture) -> tuple[BlockPlan, ...]:
    return plan_architecture(architecture, 11, SIZE).blocks


def cost(architecture: Architecture) -> QuickCost:
    return cost_of(architecture, 11, SIZE)


def test_each_choice_changes_what_it_names_and_nothing_else() -> None:
    base, found = nano(), undone(nano())
    assert list(found) == ["one branch less", "no dilation", "one group", "head of 32", "relu", "no attention"]
    fewer = [block.jetconv.branches for block in blocks(found["one branch less"].architecture)]
    assert {tuple(branch.kernel_size for branch in branches) for branches in fewer} == {(3, 5)}
    flat = found["no dilation"].architecture
    assert {branch.dilation for block in blocks(flat) for branch in block.jetconv.branches} == {1}
    assert cost(flat) == cost(base)  # a dilation costs no parameter and no MAC
    grouped = [(b.expand_groups, b.jetconv.groups, b.reduce_groups) for b in blocks(found["one group"].architecture)]
    assert set(grouped) == {(1, 1, 1)}
    assert found["head of 32"].architecture.decoder.head_channels == base.decoder.head_channels // 2
    assert found["relu"].architecture.activation == "relu"
    assert {block.attention for block in blocks(found["no attention"].architecture)} == {"none"}
    for each in found.values():
        fields = set(each.changes) - {"name"}
        raw, own = base.model_dump(), each.architecture.model_dump()
        assert {key for key in raw if raw[key] != own[key]} - {"name"} <= {field.split(".")[0] for field in fields}


def test_what_is_undone_already_is_left_out() -> None:
    plain = Architecture.model_validate(
        {
            **nano().model_dump(mode="json"),
            "groups": 1,
            "activation": "relu",
            "jetconv": {"branches": ["3"]},
            "stages": {f"s{number}": {"attention": "none"} for number in (1, 2, 3)},
        }
    )
    assert list(undone(plain)) == ["head of 32", "hardswish"]


def test_the_released_form_keeps_its_layers() -> None:
    """Its branches come from a numbered table; undoing the dilation leaves their kernels and their order."""
    released = load_architecture("jetseg-nano-released")
    assert isinstance(released, Architecture)
    flat = undone(released)["no dilation"].architecture
    kernels = [[(b.kernel_size, b.asymmetric) for b in block.jetconv.branches] for block in blocks(released)]
    assert kernels == [[(b.kernel_size, b.asymmetric) for b in block.jetconv.branches] for block in blocks(flat)]
    assert cost(flat) == cost(released)


def test_a_square_dilated_branch_keeps_its_kernel() -> None:
    square = Architecture.model_validate({**nano().model_dump(mode="json"), "jetconv": {"branches": ["3d2", "5d3"]}})
    fewer = undone(square)["one branch less"].architecture
    branches = {branch for block in blocks(fewer) for branch in block.jetconv.branches}
    assert {(b.kernel_size, b.asymmetric, b.dilation) for b in branches} == {(3, False, 2)}
