"""Specs of networks: an Architecture (a JetSeg network with all its fields) or a Baseline (a published network).

A value left out (None) takes the default of the architecture's form. `network/plan.py` turns the spec into layers for
one input size. Section numbers are those of the JetSeg paper (Lopez-Montiel et al., 2023). The README explains the two
forms.

A Baseline has no fields to vary: its layers are in `models/baselines/`, and the figures of its paper are data here.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from jetbench.errors import SpecError
from jetbench.spec.base import Spec, describe_value
from jetbench.spec.bounds import IS_NUMBER, MOST_CHANNELS, Channels, Count, Expansion, Name, Repeats, Side, Text
from jetbench.spec.published import Paper, Reported
from jetbench.spec.sources import Arguments, Model

Form = Literal["paper", "released"]
ActivationName = Literal["reu", "tanhexp", "relu", "silu", "hardswish"]
AttentionName = Literal["none", "cbam", "cbam-released", "sam", "sam-released", "eca"]
Layout = Literal["parallel", "sequential"]
Shortcut = Literal["matching", "residual", "none"]
Skip = Literal["block", "operation", "none"]
Fusion = Literal["regseg", "released"]
StageName = Literal["s0", "s1", "s2", "s3"]
Tap = Literal["first", "second", "middle", "last"] | Repeats
BaselineName = Literal[
    "linknet",
    "cgnet",
    "dsanet",
    "regseg",
    "enet",
    "espnetv2",
    "dabnet",
    "mininetv2",
    "wfdcnet",
    "segnet",
    "unet",
    "fcn8s",
    "fpenet",
    "adscnet",
    "dfanet",
    "thundernet",
    "fastscnn",
    "bisenetv2",
    "ddrnet23-slim",
    "pidnet-s",
    "stdc1",
    "ppliteseg-t",
]
Fidelity = Literal["exact", "approximate", "quoted"]

LARGEST_KERNEL, LARGEST_DILATION = 15, 64


class Branch(Spec):
    """One kernel of a JetConv (section 2.1): `7a` in YAML is an asymmetric 7x1, 1x7 pair, `3` a square 3x3.

    In the parallel layout a branch is followed by an undilated square depthwise convolution of the same kernel size.
    """

    kernel_size: Count
    asymmetric: bool = False
    dilation: Annotated[int, IS_NUMBER, Field(ge=1, le=LARGEST_DILATION)] = 1

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,4})(a?)(?:d([0-9]{1,4}))?", value.strip())
            if not match:
                raise ValueError(
                    f"{describe_value(value)} is not a kernel; write 3 (square), 7a (a 7x1, 1x7 pair), 5d2 or 7ad3 "
                    "(with dilation)"
                )
            value = {"kernel_size": int(match[1]), "asymmetric": bool(match[2])}
            if match[3]:
                value["dilation"] = int(match[3])
        if isinstance(value, dict) and "dilation" not in value and value.get("asymmetric"):
            # Section 2.1: the asymmetric pair has dilation 1, 2, 3 for k = 3, 5, 7.
            kernel_size = value.get("kernel_size")
            if isinstance(kernel_size, int):
                value = {**value, "dilation": max(1, (kernel_size - 1) // 2)}
        return value

    @model_validator(mode="after")
    def _is_odd(self) -> "Branch":
        if self.kernel_size % 2 == 0 or not 1 <= self.kernel_size <= LARGEST_KERNEL:
            raise ValueError(f"kernel_size={self.kernel_size} must be odd, from 1 to {LARGEST_KERNEL}")
        if self.kernel_size == 1 and (self.asymmetric or self.dilation > 1):
            raise ValueError("kernel_size=1 cannot be asymmetric or dilated")
        return self

    def __str__(self) -> str:
        usual = (self.kernel_size - 1) // 2 if self.asymmetric else 1
        dilation = "" if self.dilation == max(1, usual) else f"d{self.dilation}"
        return f"{self.kernel_size}{'a' if self.asymmetric else ''}{dilation}"


def _split_words(value: Any) -> Any:
    """The words of `3a 5a 7a` as a list, so that a grid axis fits on one line."""
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Branches = Annotated[tuple[Branch, ...], BeforeValidator(_split_words), Field(min_length=1, max_length=6)]


def _within(what: str, value: Any) -> Any:
    """`value`, if its number is not larger than any channels; otherwise a ValueError."""
    number = re.search(r"[0-9]+$", value) if isinstance(value, str) else None
    digits = number[0] if number else "0"
    is_over = len(digits) > 6 or int(digits) > MOST_CHANNELS
    if is_over or (isinstance(value, int) and value > MOST_CHANNELS):
        raise ValueError(f"{what}={describe_value(value)}: at most {MOST_CHANNELS:,}")
    return value


def _check_groups(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"groups={describe_value(value)}: expected a count, mean-divisor, gcd or at-most-N")
    if (
        isinstance(value, str)
        and value not in ("mean-divisor", "gcd")
        and not re.fullmatch("at-most-[1-9][0-9]*", value)
    ):
        raise ValueError(
            f"groups={describe_value(value)}: expected a count, mean-divisor, gcd or at-most-N (for example at-most-4)"
        )
    if isinstance(value, int) and value < 1:
        raise ValueError(f"groups={describe_value(value)} must be at least 1")
    return _within("groups", value)


GroupRule = Annotated[int | str, BeforeValidator(_check_groups)]
"""The number of groups of a 1x1 convolution: a count, `mean-divisor` (the paper's rule), `gcd`, or `at-most-N`."""


def _check_channels(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\+[1-9][0-9]*|x[1-9][0-9]*", value):
        raise ValueError(
            f"channels={describe_value(value)}: expected a count, +N (add N to the input) or xN (N times the input)"
        )
    if isinstance(value, bool):
        raise ValueError(f"channels: expected a count, +N or xN, found {str(value).lower()}")
    if isinstance(value, int) and value < 1:
        raise ValueError(f"channels={describe_value(value)} must be at least 1")
    return _within("channels", value)


ChannelRule = Annotated[int | str, BeforeValidator(_check_channels)]
"""Output channels of each downsampling block: a count, `+N` or `xN` of its input channels."""


class JetConv(Spec):
    """Defaults of every JetConv (section 2.1, figure 2); a stage may override the branches."""

    layout: Layout | None = None
    """Branches side by side and summed, or one after another (section 2.1)."""
    shortcut: Shortcut | None = None
    """Where a JetConv adds its input: wherever the shapes match, in residual blocks, or nowhere (section 2.1)."""
    branches: Branches | None = None
    """Kernels of every JetConv; each is `5`, `7a` or `7ad1` (section 2.1, figure 2)."""


class FirstStage(Spec):
    """S0: one JetConv of stride 2 on the image, batch norm, activation (section 2.3)."""

    channels: Channels | None = None
    """Output channels of S0 (section 2.3)."""
    branches: Branches | None = None
    """Kernels of S0."""
    groups: GroupRule | None = None
    """Groups of the 1x1 convolution of S0."""


class Stage(Spec):
    """S1 to S3: each level has `repeats` residual JetBlocks, then one that downsamples (sections 2.2 and 2.3)."""

    repeats: Repeats = 0
    """Residual JetBlocks per level, before the one that downsamples (section 2.3)."""
    channels: ChannelRule | None = None
    """Output channels: a count, `+N` or `xN` of the input."""
    expansion: Expansion | None = None
    """Expansion of the blocks of this stage."""
    branches: Branches | None = None
    """Kernels of the downsampling blocks."""
    residual_branches: Branches | None = None
    """Kernels of the residual blocks."""
    attention: AttentionName | None = None
    """Attention of the blocks (section 2.2); `cbam-released` and `sam-released` as in the code."""
    groups: GroupRule | None = None
    """Groups of the 1x1 convolutions of this stage."""


class Stages(Spec):
    """The four stages of JetNet, the encoder (section 2.3)."""

    s0: FirstStage = FirstStage()
    s1: Stage = Stage()
    s2: Stage = Stage()
    s3: Stage = Stage()


class Taps(Spec):
    """The level that the decoder reads in each third of the pyramid, counted within that third."""

    s1: Tap | None = None
    """Level that the decoder reads in the first third of the pyramid."""
    s2: Tap | None = None
    """The same in the second third."""
    s3: Tap | None = None
    """The same in the last third."""


class Decoder(Spec):
    """RegSeg-style decoder: three taps, each with a 1x1 head, fused from deep to shallow."""

    head_channels: Channels
    """Channels of each 1x1 head of the decoder (section 2.3)."""
    taps: Taps = Taps()
    fusion: Fusion | None = None
    """How the maps are fused: as in RegSeg, or as in the released code."""


class Architecture(Spec):
    """A JetSeg network for any input size and class count."""

    name: Name = "unnamed"
    description: Text = ""
    paper: Paper | None = None
    reported: tuple[Reported, ...] = ()
    form: Form = "paper"
    """What the paper says, or what its released code does."""
    combination: Annotated[int, IS_NUMBER, Field(ge=0)] | None = None
    """The released choice of kernels and taps, 0 to 5; only with `form: released`."""
    base_channels: Channels
    """Output channels of S0, from which the others follow."""
    max_channels: Channels
    """Largest number of channels of a block."""
    max_expanded_channels: Channels
    """Largest number of channels inside a block."""
    expansion: Expansion = 2
    """Channels inside a JetBlock, as a multiple of its input (section 2.2)."""
    smallest_map: Side = 16
    """The pyramid halves the longer side until it is at most `smallest_map`."""
    groups: GroupRule = "mean-divisor"
    """Groups of 1x1 convolutions: a count, `mean-divisor`, `gcd`, `at-most-N`."""
    activation: ActivationName = "reu"
    """Activation; REU is the paper's (section 2.2)."""
    skip: Skip | None = None
    """What a skip of a residual JetBlock spans: the block, each operation, or none."""
    jetconv: JetConv = JetConv()
    stages: Stages = Stages()
    decoder: Decoder

    @field_validator("combination")
    @classmethod
    def _is_released(cls, value: int | None) -> int | None:
        if value is not None and value >= len(COMBINATIONS):
            raise ValueError(f"combination={value} does not exist; the release has 0 to {len(COMBINATIONS) - 1}")
        return value

    @model_validator(mode="after")
    def _base_is_not_cut(self) -> "Architecture":
        if self.base_channels > self.max_channels:
            raise ValueError(f"base_channels={self.base_channels} is more than max_channels={self.max_channels}")
        return self

    @model_validator(mode="after")
    def _combination_needs_release(self) -> "Architecture":
        if self.combination is not None and self.form != "released":
            raise ValueError(f"combination={self.combination} needs form: released; the form here is {self.form}")
        return self


class InCode(Spec):
    """A network whose layers are in code: a baseline of ours, or a network of the user's own. It has no JetBlocks."""

    name: Name = "unnamed"
    description: Text = ""


class Baseline(InCode):
    """A baseline as published; only its number of classes varies.

    `fidelity` says how faithful it is. `exact`: it computes what the authors' code, or a complete text, describes.
    `approximate`: details had to be assumed, and `assumed` lists them. `quoted`: too little is published to build it,
    `assumed` lists what is missing, and only its reported figures exist (`network` is None).
    """

    network: BaselineName | None
    fidelity: Fidelity
    assumed: tuple[str, ...] = ()
    paper: Paper
    reported: tuple[Reported, ...] = ()

    @model_validator(mode="after")
    def _says_what_it_is(self) -> "Baseline":
        if (self.fidelity == "quoted") != (self.network is None):
            raise ValueError(
                f"fidelity: {self.fidelity} and network: {self.network}; leave network: empty if and only if the "
                "fidelity is quoted"
            )
        if (self.fidelity == "exact") == bool(self.assumed):
            raise ValueError(
                f"fidelity: {self.fidelity} with {len(self.assumed)} entries in assumed:; exact takes none, the others "
                "need at least one"
            )
        return self


PLACES = ("$classes", "$height", "$width")
"""What an argument may be in place of a value: the number of classes, and the size of the images."""


class Foreign(InCode):
    """A torch module of the user's own, or of an installed package, made by a function that `model` names.

    `model` is `package.module:factory`, or `path/to/file.py:factory` beside the YAML file. The factory is called with
    `arguments`, in which `$classes`, `$height` and `$width` stand for the number of classes and the image size; if it
    has a parameter `num_classes` that `arguments` lacks, it gets the number of classes. It returns a torch module that
    maps images (N, 3, H, W) to logits: a tensor, a tuple, list or dict of tensors, or an object with tensors, of which
    `output` names one. `digest` is that of its source. Nothing is imported when a spec is read.
    """

    model: Model
    arguments: Arguments = Field(default_factory=dict)
    output: str | int | None = None
    digest: str = ""
    paper: Paper | None = None
    reported: tuple[Reported, ...] = ()


def is_foreign(raw: Mapping[str, Any]) -> bool:
    """True if the mapping of a YAML file describes a network of the user's own."""
    return "model" in raw


def is_baseline(raw: Mapping[str, Any]) -> bool:
    """True if the mapping of a YAML file describes a Baseline."""
    return "network" in raw or "fidelity" in raw


def _kind_of(value: Any) -> str:
    if isinstance(value, Foreign) or (isinstance(value, dict) and is_foreign(value)):
        return "foreign"
    if isinstance(value, Baseline) or (isinstance(value, dict) and is_baseline(value)):
        return "baseline"
    return "jetseg"


AnyArchitecture = Annotated[
    Annotated[Architecture, Tag("jetseg")] | Annotated[Baseline, Tag("baseline")] | Annotated[Foreign, Tag("foreign")],
    Discriminator(_kind_of),
]
"""A JetSeg network, a baseline (key `network` or `fidelity`), or a network of the user's own (key `model`)."""


def only_jetseg(architecture: Architecture | Baseline | Foreign) -> Architecture:
    """`architecture` itself, if it is a JetSeg network.

    Raises:
        SpecError: its layers are in code.
    """
    if isinstance(architecture, Foreign):
        raise SpecError(
            f"{architecture.name}: its layers are in {architecture.model}, so it is counted by running it; this "
            "command counts in closed form, and takes JetSeg networks"
        )
    if isinstance(architecture, Baseline):
        raise SpecError(
            f"{architecture.name}: is a baseline, which has no JetBlocks and nothing to vary; name a JetSeg network"
        )
    return architecture


class Combination(Spec):
    """One of the release's numbered choices of kernels and decoder taps ("combs")."""

    s0: Branches
    s1_residual: Branches
    s1: Branches
    s2_residual: Branches
    s2: Branches
    s3_residual: Branches
    s3: Branches
    taps: Taps


def _combination(row: str) -> Combination:
    columns = [column.strip() for column in row.split("|")]
    names = ("s0", "s1_residual", "s1", "s2_residual", "s2", "s3_residual", "s3")
    taps = dict(zip(("s1", "s2", "s3"), columns[-1].split(), strict=True))
    return Combination.model_validate({**dict(zip(names, columns[:-1], strict=True)), "taps": taps})


# These are the networks that the released code builds, which differ from its tables in two cases: in combination 0 a
# second 1x1 in S0 and S1 overwrites the first, and a pair that lists the same orientation twice is built as an ordinary
# pair.
COMBINATIONS: tuple[Combination, ...] = tuple(
    _combination(row)
    for row in (
        # S0     | S1 res.| S1 down    | S2 res.| S2 down | S3 res.| S3 down | taps S1, S2, S3
        "7a 1 5a 3 | 7a 3 | 3 5a 1 7a  | 5a 3   | 3 5a    | 3      | 1       | last last last",
        "7a        | 7    | 3 5a 7a    | 5a     | 3a 5    | 3a     | 1       | first second second",
        "7         | 7    | 3a 5 7     | 5      | 3a 5    | 3      | 1       | first last last",
        "7a        | 7a   | 3 5a 7a    | 5a     | 3 5a    | 3      | 1       | first middle last",
        "7a        | 7    | 3a 5a 7a   | 5      | 3a 5a   | 3      | 1       | first last last",
        "7         | 7    | 3 5 7      | 5      | 3a 5a   | 3      | 1       | first first last",
    )
)
