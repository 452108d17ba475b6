"""Commented templates of the YAML files, for `jetbench init`; each runs as it is."""

from jetbench.spec.catalog import Kind

MODEL = """\
\"\"\"A network of mine: any torch module that maps images (N, 3, H, W) to logits.\"\"\"

from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))    # smaller logits are scaled up to the image


def build(num_classes: int, width: int = 16) -> nn.Module:
    return Net(num_classes, width)
"""
MODEL_YAML = """\
description: a network of mine
model: {file}:build                  # FILE.py:factory beside this file, or package.module:factory
arguments: {{width: 16}}               # axes of a sweep: arguments.width; $classes, $height, $width stand for numbers
# output: logits                     # which output holds the logits, if the network returns several
"""
CLASSES = """\
# Put this file into the folder of the dataset; `jetbench data check folder:PATH` says whether it fits.
classes:
  - background                       # a name alone: its id in masks is its place, here 0
  - {name: crop, colour: '#2e8b57'}    # the colour is that of pictures, and of coloured masks
  - {name: weed, colour: '#cd5c5c'}    # ids: [2, 3] for several ids; then every class needs its own
ignore: [255]                        # ids and colours that have no class
"""

SWEEP = """\
description: kernels and groups around the nano preset
base: jetseg-nano                    # an architecture from `jetbench list`, or a path to a .yaml file
# extends: nano                      # take over another sweep, and change what is written here

dataset: {name: streets, size: 96x192, train: 64, val: 16, test: 16}    # generated; no download
# dataset: {name: camvid, path: /data/camvid, size: 360x480}

training:
  budget: 40 steps                   # or: 20 epochs, 60s, 2min
  loss: jetloss
  evaluations: 2                     # how often the validation split is scored

# seeds: [0, 1, 2]                   # several trainings each: only then is accuracy ranked
profiling: {min_seconds: 1}

variants:
  - grid: {jetconv.branches: ["3a", "3a 5a"]}    # a grid of two keys would have every combination of their values
  - grid: {groups: [1, gcd]}
  - cases:                           # by name, each with its own changes
      one more block in S2: {stages.s2.repeats: 2}

labels:                              # what tables and pictures call them
  jetseg-nano: ours
  jetconv.branches: kernels
  groups=gcd: shared groups
"""

SEARCH = """\
description: which small network is accurate
base: jetseg-nano
dataset: {name: streets, size: 64x128, train: 64, val: 16, test: 16}
training: {budget: 20 steps, evaluations: 2}

objectives: [miou, macs]             # miou, and latency, macs, parameters, memory or energy
limits: {macs: 40M}                  # also: parameters: 40k, memory: 64MiB, latency: 33ms, energy: 50mJ
sampler: tpe                         # or nsga2, random, gp, additive
trainings: 8
final: {budget: 40 steps, seeds: [1, 2], most: 2}    # the front is trained again, longer and with other seeds

axes:                                # fields of the architecture and their values
  jetconv.branches: ["3a", "3a 5a", "3a 5a 7a"]
  groups: [1, gcd]
  base_channels: [6, 8, 10]
  stages.s2.repeats: [0, 1]
  stages.s2.attention: {values: [none, eca], when: {stages.s2.repeats: [1]}}    # only where S2 has more blocks
"""

SPACE = """\
description: which networks are small enough; they are counted, not trained
base: jetseg-nano
size: 512x512
classes: 11
axes:
  jetconv.branches: ["3a", "3a 5a", "3a 5a 7a"]
  groups: [1, at-most-4, gcd]
  base_channels: [4, 6, 8, 10]
  decoder.head_channels: [16, 32, 64]
"""

ARCHITECTURE = """\
description: a JetSeg of my own
form: paper                          # or: released, as the authors' code has it
base_channels: 8                     # S1 adds this many channels a block, S2 twice as many (section 2.3)
max_channels: 64
max_expanded_channels: 64
groups: at-most-4                    # of the 1x1 convolutions: a number, gcd, mean-divisor, at-most-N (section 2.2)
activation: reu                      # or relu, hardswish
jetconv: {branches: "3a 5a 7a"}      # kernels: a asymmetric, dN dilated by N (section 2.1)
stages:                              # more blocks of a stage, its attention, and kernels of its own
  s1: {repeats: 0}
  s2: {repeats: 1}
  s3: {repeats: 1}
decoder: {head_channels: 64}
"""

TEMPLATES: dict[Kind, str] = {"sweep": SWEEP, "search": SEARCH, "space": SPACE, "architecture": ARCHITECTURE}
USES: dict[Kind, str] = {
    "sweep": "jetbench sweep {file}",
    "search": "jetbench search {file}",
    "space": "jetbench screen {file}",
    "architecture": "jetbench show {file}",
}
"""The command that reads a file of each kind."""


def template_of(kind: Kind, schema: str) -> str:
    """The template of a kind; its first line names the schema, so that an editor completes its keys."""
    return f"# yaml-language-server: $schema={schema}\n{TEMPLATES[kind]}"
