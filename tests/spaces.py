"""Random architectures over every field that an Architecture has, for tests that must hold for all of them."""

from typing import Any

from hypothesis import strategies as st

KERNELS = ["1", "3", "3a", "5", "5a", "5ad1", "7a", "7", "3d2", "9", "11a", "7d3"]
GROUPS = ["mean-divisor", "gcd", 1, 2, "at-most-2", "at-most-8"]

branches = st.lists(st.sampled_from(KERNELS), min_size=1, max_size=5)
first_stage = {
    "channels": st.sampled_from([None, 5, 8]),
    "branches": st.none() | branches,
    "groups": st.sampled_from([None, 1, "gcd"]),
}
stage = {
    "repeats": st.integers(0, 2),
    "channels": st.sampled_from([None, "+4", "x2", 24, 7]),
    "expansion": st.sampled_from([None, 1, 3]),
    "branches": st.none() | branches,
    "residual_branches": st.none() | branches,
    "attention": st.sampled_from([None, "none", "cbam", "cbam-released", "sam", "sam-released", "eca"]),
    "groups": st.sampled_from([None, 1, "gcd", "at-most-4"]),
}
taps = st.sampled_from([None, "first", "middle", "last", 0])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "form": st.sampled_from(["paper", "released"]),
    "base_channels": st.sampled_from([3, 4, 6, 8, 12]),
    "max_channels": st.sampled_from([16, 64, 256]),
    "max_expanded_channels": st.sampled_from([24, 64, 256]),
    "expansion": st.sampled_from([1, 2, 3]),
    "smallest_map": st.sampled_from([1, 2, 4, 8]),
    "groups": st.sampled_from(GROUPS),
    "activation": st.sampled_from(["reu", "tanhexp", "relu", "silu", "hardswish"]),
    "skip": st.sampled_from([None, "block", "operation", "none"]),
    "jetconv.layout": st.sampled_from([None, "parallel", "sequential"]),
    "jetconv.shortcut": st.sampled_from([None, "matching", "residual", "none"]),
    "jetconv.branches": st.none() | branches,
    **{f"stages.s0.{field}": strategy for field, strategy in first_stage.items()},
    **{f"stages.{name}.{field}": strategy for name in ("s1", "s2", "s3") for field, strategy in stage.items()},
    **{f"decoder.taps.{name}": taps for name in ("s1", "s2", "s3")},
    "decoder.head_channels": st.sampled_from([1, 8, 24, 64]),
    "decoder.fusion": st.sampled_from([None, "regseg", "released"]),
}


@st.composite
def architecture_changes(draw: st.DrawFn) -> dict[str, Any]:
    """Changes of jetseg-nano, every field among them."""
    changes: dict[str, Any] = draw(st.fixed_dictionaries(FIELDS))
    if changes["form"] == "released":
        changes["combination"] = draw(st.sampled_from([None, 0, 1, 2, 3, 4, 5]))
    return changes
