"""The command line: one short verb per thing a person wants."""

from jetbench.cli import networks  # isort: skip  # the order in which --help lists the verbs
from jetbench.cli import screening  # isort: skip
from jetbench.cli import experiments  # isort: skip
from jetbench.cli import tables  # isort: skip
from jetbench.cli import searching  # isort: skip
from jetbench.cli import studies  # isort: skip
from jetbench.cli import predicting  # isort: skip
from jetbench.cli import profiles  # isort: skip
from jetbench.cli import devices  # isort: skip
from jetbench.cli.app import app, main

__all__ = [
    "app",
    "devices",
    "experiments",
    "main",
    "networks",
    "predicting",
    "profiles",
    "screening",
    "searching",
    "studies",
    "tables",
]
