"""The command line: one file per verb, named as the verb. A verb parses, calls the library, and prints."""

from jetbench.cli import list  # isort: skip  # the order in which --help lists the verbs
from jetbench.cli import show  # isort: skip
from jetbench.cli import count  # isort: skip
from jetbench.cli import screen  # isort: skip
from jetbench.cli import init  # isort: skip
from jetbench.cli import schema  # isort: skip
from jetbench.cli import data  # isort: skip
from jetbench.cli import train  # isort: skip
from jetbench.cli import sweep  # isort: skip
from jetbench.cli import search  # isort: skip
from jetbench.cli import profile  # isort: skip
from jetbench.cli import explain  # isort: skip
from jetbench.cli import latency  # isort: skip
from jetbench.cli import export  # isort: skip
from jetbench.cli import bundle  # isort: skip
from jetbench.cli import collect  # isort: skip
from jetbench.cli import table  # isort: skip
from jetbench.cli import compare  # isort: skip
from jetbench.cli import plot  # isort: skip
from jetbench.cli import report  # isort: skip
from jetbench.cli import claims  # isort: skip
from jetbench.cli import evaluate  # isort: skip
from jetbench.cli import predict  # isort: skip
from jetbench.cli import devices  # isort: skip
from jetbench.cli import doctor  # isort: skip
from jetbench.cli import cache  # isort: skip
from jetbench.cli import study  # isort: skip
from jetbench.cli.app import app, main

__all__ = [
    "app",
    "bundle",
    "cache",
    "claims",
    "collect",
    "compare",
    "count",
    "data",
    "devices",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "init",
    "latency",
    "list",
    "main",
    "plot",
    "predict",
    "profile",
    "report",
    "schema",
    "screen",
    "search",
    "show",
    "study",
    "sweep",
    "table",
    "train",
]
