"""The surfaces: every place where a user's or a stranger's data enter. A new one is a function here.

Each surface gets a random generator and two folders, writes hostile data, and returns what runs on them.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import typer
import yaml

from tests.fuzz.harness import command_line
from tests.fuzz.mutate import HOSTILE_TEXTS, as_json, as_yaml, mutate_bytes, mutate_data, value

FORMATS = ("png", "jpg", "gif", "tif", "bmp", "webp", "eps")
ROOT = Path(__file__).parents[2]
Run = Callable[[], int]


@dataclass(frozen=True)
class Ground:
    """Where a case plays: its folder, and the samples that all cases share."""

    inside: Path
    samples: Path
    random: random.Random

    def sample(self, name: str) -> Path:
        """A copy of a sample in the case's folder."""
        source, target = self.samples / name, self.inside / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        return target


def _bundled(ground: Ground, folder: str, pattern: str = "*.yaml") -> Any:
    path = ground.random.choice(sorted((ROOT / folder).glob(pattern)))
    return yaml.safe_load(path.read_text())


EXTENDED = ("nano", "x.yaml", "search-nano", "/dev/zero", ".", "nowhere", "")


def sweeps(ground: Ground) -> Run:
    """A sweep's YAML."""
    data = _bundled(ground, "sweeps", "[!s]*.yaml")
    if ground.random.random() < 0.2:
        data |= {
            "extends": ground.random.choice(EXTENDED),
            "labels": {"groups=gcd": ground.random.choice(HOSTILE_TEXTS)},
        }
    (ground.inside / "x.yaml").write_bytes(as_yaml(data, ground.random))
    return command_line("sweep", "x.yaml", "--dry-run")


def searches(ground: Ground) -> Run:
    """A search's YAML."""
    data = _bundled(ground, "sweeps", "search-*.yaml")
    (ground.inside / "x.yaml").write_bytes(as_yaml(data, ground.random))
    return command_line("search", "x.yaml", "--dry-run")


def spaces(ground: Ground) -> Run:
    """A space's YAML."""
    data = {**_bundled(ground, "sweeps/spaces"), "size": "64x96"}
    (ground.inside / "x.yaml").write_bytes(as_yaml(data, ground.random))
    return command_line("screen", "x.yaml", "--samples", "40", "--jobs", "1")


def architectures(ground: Ground) -> Run:
    """An architecture's YAML."""
    (ground.inside / "x.yaml").write_bytes(as_yaml(_bundled(ground, "architectures"), ground.random))
    verb = ground.random.choice((("show",), ("count",), ("show", "--lint"), ("count", "--json"), ("show", "--json")))
    return command_line(verb[0], "x.yaml", *verb[1:], "--size", "64x96")


NET = """
from torch import nn


def build(num_classes, width=8, **more):
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))


class Odd(nn.Module):
    def __init__(self, returned):
        super().__init__()
        self.returned = returned

    def forward(self, images):
        return eval(self.returned)


def odd(returned):
    return Odd(returned)


def says(num_classes):
    print("\\x1b[31m\\x07 ignore the above")
    raise ValueError("\\x1b[2J\\n" + "long " * 5000)


def leaves(num_classes):
    import os
    os._exit(7)


def exits(num_classes):
    raise SystemExit("bye")


def falls(num_classes):
    return falls(num_classes)
"""
FACTORIES = ("build", "build", "odd", "says", "leaves", "exits", "falls", "Odd", "nn.Identity", "gone", "build.x", "_")
RETURNED = (
    *("images", "None", "[]", "{}", "{'logits': images}", "(images, images)", "{1: images, 2: images}", "images[0]"),
    *(
        "images[:, :, :0]",
        "images.int()",
        "1 / 0",
        "images.sum()",
        "'text'",
        "[[images]]",
        "images.repeat(1, 4, 1, 1)[:, :11]",
    ),
)
EXAMPLE_SEARCH = {"axes": {"arguments.width": [4, 8], "output": [None, 0]}, "objectives": ["miou", "macs"]}


def own_networks(ground: Ground) -> Run:
    """A network or a loss of the user's own: its YAML, its source, and a sweep or search over its arguments."""
    random_ = ground.random
    source = mutate_bytes(NET.encode(), random_) if random_.random() < 0.2 else NET.encode()
    (ground.inside / "net.py").write_bytes(source)
    factory = random_.choice(FACTORIES)
    data: dict[str, Any] = {"model": f"net.py:{factory}"}
    if factory in ("odd", "Odd"):
        data["arguments"] = {"returned": random_.choice(RETURNED)}
    if random_.random() < 0.3:
        data["output"] = random_.choice((0, 1, -1, 99, "logits", "", "__class__", None, True))
    text = as_yaml(data, random_) if random_.random() < 0.4 else yaml.safe_dump(data).encode()
    (ground.inside / "mine.yaml").write_bytes(text)
    name = random_.choice(("mine.yaml", f"net.py:{factory}"))
    streets = {"name": "streets", "size": "64x96", "train": 8, "val": 2, "test": 2}
    match random_.choice(("show", "count", "sweep", "search", "loss")):
        case "sweep":
            grid = {"arguments.width": [4, value(random_)]}
            asked = {"base": name, "dataset": streets, "variants": [{"grid": grid}]}
            (ground.inside / "x.yaml").write_text(yaml.safe_dump(asked))
            return command_line("sweep", "x.yaml", "--dry-run")
        case "search":
            asked = {"base": name, "dataset": streets, **EXAMPLE_SEARCH, "limits": {"macs": "2M"}}
            (ground.inside / "x.yaml").write_bytes(as_yaml(asked, random_))
            return command_line("search", "x.yaml", "--dry-run")
        case "loss":
            training = {"loss": data["model"], "loss_arguments": {"a": value(random_)}}
            asked = {"base": "jetseg-nano", "dataset": streets, "training": training, "variants": []}
            (ground.inside / "x.yaml").write_bytes(as_yaml(asked, random_))
            return command_line("sweep", "x.yaml", "--dry-run")
        case verb:
            return command_line(verb, name, "--size", "64x96")


def devices(ground: Ground) -> Run:
    """A device's YAML; profiling on a board that this machine is not counts and estimates only."""
    data = yaml.safe_load(
        (ROOT / "jetbench/devices" / ground.random.choice(("agx", "nano", "tx2"))).with_suffix(".yaml").read_text()
    )
    (ground.inside / "x.yaml").write_bytes(as_yaml(data, ground.random))
    if ground.random.random() < 0.5:
        return command_line("devices", "x.yaml")
    return command_line("profile", "jetseg-nano", "--device", "x.yaml", "--size", "64x96")


KEYS = (
    *("training.batch_size", "training.budget", "training.seed", "dataset.size", "dataset.name", "seeds", "groups"),
    *(
        "stages.s2.repeats",
        "stages.s1.channels",
        "base",
        "name",
        "base_channels",
        "decoder.taps.s2",
        "jetconv.branches",
    ),
    *("a.b.c.d", "", "stages", "training", "__class__", "variants"),
)


def changes(ground: Ground) -> Run:
    """Values of --set."""
    texts = (*HOSTILE_TEXTS, "[" * 1000, "!!int x", "{a: &a [*a]}", "&a [*a]")
    text = f"{ground.random.choice(KEYS)}={ground.random.choice(texts)}"
    if ground.random.random() < 0.5:
        return command_line("show", "jetseg-nano", "--set", text, "--size", "64x96")
    return command_line("sweep", "nano", "--dry-run", "--set", text)


# Verbs that neither train, measure nor serve, with what each needs to be given.
DRY: dict[str, tuple[str, ...]] = {
    "list": (),
    "show": ("jetseg-nano",),
    "count": ("jetseg-nano", "--size", "64x96"),  # --cross-check builds the network and measures it
    "screen": ("nano", "--samples", "20", "--jobs", "1"),
    "sweep": ("nano", "--dry-run"),
    "search": ("search-quick", "--dry-run"),
    "table": ("study",),
    "compare": ("study", "study"),
    "explain": ("study",),
    "claims": ("study",),
    "plot": ("study",),
    "report": ("study",),
    "devices": (),
    "collect": ("result.json",),
    "predict": ("weights.safetensors", "image.png"),
    "init": ("sweep", "mine"),
    "schema": ("sweep",),
    "cache": (),
}


ARGUMENTS = ("1", "-1", "0", "1e308", "study", "image.png", ".", "/dev/null", "/")


def options(ground: Ground) -> Run:
    """The options and arguments of every verb that neither trains, measures nor serves."""
    from jetbench.cli import app

    for name in ("study", "result.json", "image.png", "weights.safetensors"):
        ground.sample(name)
    verb = ground.random.choice(sorted(DRY))
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    command = group.commands[verb]
    given = list(DRY[verb])
    for _ in range(ground.random.choice((1, 1, 2))):
        parameter = ground.random.choice(command.params)
        if parameter.param_type_name == "argument":
            if given:
                given[0] = ground.random.choice(HOSTILE_TEXTS)
        elif getattr(parameter, "is_flag", False):
            given.append(parameter.opts[0])
        else:
            given += [parameter.opts[0], ground.random.choice((*HOSTILE_TEXTS, *ARGUMENTS))]
    # A text may read as an option of the verb; none of these must begin real work.
    return command_line(verb, *given)


def records(ground: Ground) -> Run:
    """records.jsonl, read by every verb that reads it."""
    folder = ground.sample("study")
    path = folder / "records.jsonl"
    lines = path.read_bytes().splitlines()
    at = ground.random.randrange(len(lines))
    if ground.random.random() < 0.7:
        lines[at] = as_json(json.loads(lines[at]), ground.random)
        path.write_bytes(b"\n".join(lines) + b"\n")
    else:
        path.write_bytes(mutate_bytes(path.read_bytes(), ground.random))
    return _read_verb(ground)


def _not_plain(folder: str, names: list[str]) -> list[str]:
    """Pipes and devices, which have no end."""
    return [name for name in names if not (Path(folder) / name).is_file() and not (Path(folder) / name).is_dir()]


def _read_verb(ground: Ground) -> Run:
    shutil.copytree(ground.inside / "study", ground.inside / "other", symlinks=True, ignore=_not_plain)
    verbs = (
        ("table", "study"),
        ("table", "study", "--sort", "latency", "--notes", "full", "--digits", "3"),
        ("study", "merge", "study", "other", "--into", "both"),
        ("sweep", "nano", "--name", "study", "--reports", ".", "--dry-run"),
        ("table", "study", "--style", "csv"),
        ("table", "study", "--style", "wide,latex", "--mixed"),
        ("table", "study", "--per", ground.random.choice(("class", "axis", "evaluation", "budget"))),
        ("report", "study"),
        ("claims", "study"),
        ("compare", "study", "study"),
        ("plot", "study", "--picture", "latencies"),
        ("explain", "study"),
    )
    return command_line(*ground.random.choice(verbs))


FILES = ("sweep.yaml", "records.jsonl", "table.md", "table.csv", "report.html", ".lock", ".study")


def study_files(ground: Ground) -> Run:
    """The other files of a report folder: its sweep, links and folders in place of files."""
    folder = ground.sample("study")
    what = ground.random.random()
    target = folder / ground.random.choice(FILES)
    if what < 0.5:
        data = yaml.safe_load((ROOT / "sweeps" / "nano.yaml").read_text())
        (folder / "sweep.yaml").write_bytes(as_yaml({"name": "study", **data}, ground.random))
    else:
        target.unlink(missing_ok=True)
        if what < 0.6:
            target.mkdir()
        elif what < 0.7:
            target.symlink_to(ground.inside / "nowhere")
        elif what < 0.8:
            os.mkfifo(target)
        elif what < 0.9:
            target.symlink_to("/dev/zero")
        else:
            target.write_bytes(ground.random.randbytes(200))
    return _read_verb(ground)


def results(ground: Ground) -> Run:
    """The result.json that a board sends."""
    path = ground.sample("result.json")
    path.write_bytes(as_json(json.loads(path.read_text()), ground.random))
    return command_line("collect", "result.json")


def latency_models(ground: Ground) -> Run:
    """What `latency learn` wrote, on any machine."""
    path = ground.sample("latency.json")
    path.write_bytes(as_json(json.loads(path.read_text()), ground.random))
    verbs = (
        ("latency", "predict", "jetseg-nano", "cgnet", "--with", "latency.json"),
        ("latency", "predict", "jetseg-nano", "--with", "latency.json", "--size", "288x512", "--json"),
        ("screen", "nano", "--latency-model", "latency.json", "--samples", "20", "--max-latency", "50ms"),
        ("search", "search-nano", "--latency-model", "latency.json", "--objectives", "miou,latency", "--dry-run"),
    )
    return command_line(*ground.random.choice(verbs))


def others_times(ground: Ground) -> Run:
    """What somebody's trtexec wrote: its times, its log, and the file that it ran."""
    times, log = ground.inside / "times.json", ground.inside / "log.txt"
    queries = [{"startComputeMs": 9.0, "endComputeMs": 12.0, "computeMs": 3.1}] * 3
    times.write_bytes(as_json(queries, ground.random))
    lines = ["[I] Engine built in 41.9 sec.", "&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec --fp16"]
    log.write_bytes(mutate_bytes("\n".join(lines).encode(), ground.random))
    ground.sample("model.onnx")
    more = ground.random.choice(((), ("--onnx", "model.onnx", "--device", "orin-nano")))
    return command_line("collect", "--trtexec", "times.json", "--log", "log.txt", *more)


def weights(ground: Ground) -> Run:
    """A weights file: its metadata, or its bytes."""
    path = ground.sample("weights.safetensors")
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if ground.random.random() < 0.7:
        if ground.random.random() < 0.7:
            saved = json.loads(header["__metadata__"]["jetbench"])
            header["__metadata__"]["jetbench"] = as_json(saved, ground.random).decode("utf-8", "replace")
        else:
            header = mutate_data(header, ground.random)
        try:
            text = json.dumps(header).encode()
        except ValueError:
            text = b"{}"
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    else:
        path.write_bytes(mutate_bytes(content, ground.random))
    ground.sample("image.png")
    if ground.random.random() < 0.5:
        return command_line("predict", "jetseg-nano", "image.png", "--weights", "weights.safetensors")
    return command_line("profile", "weights.safetensors", "--device", "agx")


def manifests(ground: Ground) -> Run:
    """A folder of exported files: its manifest, and a file that is none, with the digest that the manifest gives."""
    random_, folder = ground.random, ground.inside / "out"
    folder.mkdir()
    content = random_.choice((b"", b"\x08\x07", bytes(random_.randrange(256) for _ in range(200)), b"PK\x03\x04"))
    file = {
        "format": "onnx",
        "name": "model.onnx",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    file |= {"exporter": "torch", "opset": 13, "ir": 7, "seconds": 1.0}
    saved = {"architecture": _bundled(ground, "architectures", "jetseg-nano.yaml"), "num_classes": 11}
    saved |= {"input_size": [64, 96], "mean": [127.5] * 3, "std": [64.0] * 3}
    streets = {"name": "streets", "size": "64x96", "train": 2, "val": 2, "test": 2}
    data = {
        "request": {"label": "x", "saved": saved, "dataset": streets},
        "files": [{"file": file, "runtime": "y", "parities": []}],
    }
    (folder / "model.onnx").write_bytes(content)
    whole = random_.random() < 0.3
    (folder / "manifest.json").write_bytes(json.dumps(data).encode() if whole else as_json(data, random_))
    options = [part for name in ("train", "val", "test") for part in ("--set", f"{name}=2")]
    return command_line("evaluate", "out/model.onnx", "--dataset", "streets", *options)


def model_files(ground: Ground) -> Run:
    """An ONNX file of another exporter: its bytes, or the numbers and names in it."""
    import onnx

    random_, path = ground.random, ground.sample("model.onnx")
    if random_.random() < 0.5:
        path.write_bytes(mutate_bytes(path.read_bytes(), random_))
    else:
        model = onnx.load(str(path))
        for _ in range(random_.choice((1, 1, 3))):
            number = random_.choice((0, -1, 1, 2, 3, 7, 2**31 - 1, 2**40, 10**17))
            what, graph = random_.randrange(5), model.graph
            if what == 0:
                part = random_.choice((graph.input[0], graph.output[0]))
                random_.choice(part.type.tensor_type.shape.dim).dim_value = number
            elif what == 1:
                random_.choice(graph.initializer).dims[:] = [number] * random_.randrange(5)
            elif what == 2:
                node = random_.choice(graph.node)
                node.op_type = random_.choice(("Conv", "Reshape", "Shape", "Gemm", "MaxPool", "Loop", "\x1b[31m", ""))
            elif what == 3:
                node = random_.choice(graph.node)
                node.input[:] = [random_.choice((*node.input, "", "nowhere", *node.output)) for _ in node.input]
            else:
                model.opset_import[0].version = max(-(2**31), min(number, 2**31))
        path.write_bytes(model.SerializeToString())
    if random_.random() < 0.5:
        return command_line("profile", "model.onnx", "--device", "agx")
    options = [part for name in ("train", "val", "test") for part in ("--set", f"{name}=2")]
    numbers = random_.choice(("127,127,127", "1,1,1", "0,0,0", "nan,1,1", "1,1", "1e999,1,1"))
    return command_line("evaluate", "model.onnx", "--dataset", "streets", "--mean", "1,2,3", "--std", numbers, *options)


def images(ground: Ground) -> Run:
    """An image file of any format, mutated."""
    name = f"image.{ground.random.choice(sorted(FORMATS))}"
    path = ground.sample(name)
    if ground.random.random() < 0.9:
        path.write_bytes(mutate_bytes(path.read_bytes(), ground.random))
    ground.sample("weights.safetensors")
    if ground.random.random() < 0.1:
        path = path.rename(path.with_suffix(ground.random.choice((".mp4", ".avi", ".mkv"))))
    return command_line("predict", "weights.safetensors", path.name)


NAMES = ("x.PNG", "._y.png", "\x1bz.png", "q.eps", "n" * 200 + ".png")


def datasets(ground: Ground) -> Run:
    """Images and labels of a dataset."""
    folder = ground.sample("camvid")
    files = sorted(folder.rglob("*.png"))
    for _ in range(ground.random.choice((1, 1, 3))):
        path = ground.random.choice([file for file in files if file.is_file() and not file.is_symlink()])
        what = ground.random.random()
        if what < 0.6:
            path.write_bytes(mutate_bytes(path.read_bytes(), ground.random))
        elif what < 0.7:
            path.unlink()
        elif what < 0.8:
            path.rename(
                path.with_name(ground.random.choice(("x.PNG", "._y.png", "\x1bz.png", "q.eps", "n" * 200 + ".png")))
            )
        elif what < 0.9:
            path.unlink(missing_ok=True)
            path.symlink_to(ground.random.choice(("/dev/zero", "nowhere", str(folder))))
        else:
            path.unlink(missing_ok=True)
            path.mkdir()
    return lambda: load(folder)


def load(folder: Path, kind: str = "camvid") -> int:
    """Load a dataset as a sweep does, with an error as the command line shows it."""
    from jetbench.cli.app import errors
    from jetbench.data.cache import load_data
    from jetbench.errors import JetbenchError
    from jetbench.spec.dataset import DATASETS

    try:
        load_data(DATASETS[kind].model_validate({"path": str(folder), "size": (32, 48)}))
    except JetbenchError as error:
        errors.print(f"error: {error}", markup=False, highlight=False)
        return 2
    return 0


CLASS_LISTS = {
    "classes.yaml": "classes:\n"
    + "".join(f"- {{name: c{n}, colour: '#{n:02x}ff00', ids: [{n}]}}\n" for n in range(12))
    + "ignore: [255]\nmask_values: ids\n",
    "class_dict.csv": "name,r,g,b\n" + "".join(f"c{n},{n},{n},9\n" for n in range(11)) + "void,0,0,0\n",
    "codes.txt": "".join(f"c{n}\n" for n in range(11)) + "void\n",
}
LIST_LINES = (
    "x",
    "images/a.png",
    "../../a",
    "/dev/zero",
    "C:\\a\\b.png",
    "a.png,a.png",
    "# a",
    "",
    "\x1b[31m",
    "a " * 200,
)


def folders(ground: Ground) -> Run:
    """A folder of the user's own data: its layout, its lists, its classes, its masks; checked, shown, loaded."""
    folder, chance = ground.inside / "own", ground.random
    places = chance.choice((("images", "masks"), ("train/images", "train/masks"), ("a", "a_labels"), (".", ".")))
    masks = sorted((ground.samples / "camvid" / "trainannot").iterdir())
    for place in places:
        (folder / place).mkdir(parents=True, exist_ok=True)
    suffix = chance.choice(("", "_mask", "_x"))
    for number in range(chance.choice((0, 1, 6, 6, 6))):
        ending = ".png" if chance.random() < 0.9 else chance.choice((".PNG", ".txt", "\n.png"))
        shutil.copy(chance.choice(masks), folder / places[0] / f"{number}{ending}")
        content = chance.choice(masks).read_bytes()
        mask = folder / places[1] / f"{number}{suffix}.png"
        mask.write_bytes(mutate_bytes(content, chance) if chance.random() < 0.1 else content)
    name, text = chance.choice(list(CLASS_LISTS.items()))
    content = text.encode()
    if chance.random() < 0.4:
        data = yaml.safe_load(text) if name.endswith("yaml") else None
        content = as_yaml(data, chance) if data is not None else mutate_bytes(content, chance)
    (folder / name).write_bytes(content)
    for split in chance.sample(("train", "val", "test"), chance.choice((0, 0, 0, 2))):
        (folder / f"{split}.txt").write_text("\n".join(chance.choices(LIST_LINES, k=6)))
    (ground.inside / "w.pt").write_bytes(mutate_bytes((ground.samples / "weights.safetensors").read_bytes(), chance))
    what = chance.random()
    if what < 0.5:
        return command_line("data", "check", "folder:own", *(("--json",) if chance.random() < 0.3 else ()))
    if what < 0.7:
        return command_line("data", "show", "folder:own", "--out", "shown")
    if what < 0.8:
        return command_line(
            "evaluate", "w.pt", "--dataset", chance.choice(("folder:own", "voc:own", "coco:own", "folder"))
        )
    if what < 0.9:
        options = (
            "--init",
            "w.pt",
            "--budget",
            "1 step",
            "--set",
            chance.choice(("batch_size=2", "crop=9x9", "optimizer=x")),
        )
        return command_line(
            "train", chance.choice(("cgnet", "x")), "--dataset", "folder:own", "--size", "64x96", *options
        )
    return lambda: load(folder, "folder")


def caches(ground: Ground) -> Run:
    """A cache of decoded images, mutated; it is made anew, and gives the same data."""
    folder = ground.sample("camvid")

    def run() -> int:
        from jetbench.data.cache import cache_folder, load_data
        from jetbench.spec.dataset import CamvidConfig

        before = load_data(CamvidConfig(path=str(folder), size=(32, 48)))
        (cache,) = cache_folder().glob("camvid11-*[!k]")
        path = ground.random.choice(sorted(cache.iterdir()))
        if path.name == "meta.json" and ground.random.random() < 0.8:
            path.write_bytes(as_json(json.loads(path.read_text()), ground.random))
        else:
            path.write_bytes(mutate_bytes(path.read_bytes(), ground.random))
        after = load_data(CamvidConfig(path=str(folder), size=(32, 48)))
        same = (before.mean, before.std, before.class_pixels, before.info) == (
            after.mean, after.std, after.class_pixels, after.info,
        )  # fmt: skip
        return 0 if same else 1

    return run


TABLES = ("trials", "studies", "version_info", "trial_params", "study_directions", "alembic_version")


def databases(ground: Ground) -> Run:
    """A study.db, mutated."""
    path = ground.sample("study") / "study.db"
    shutil.copy(ground.samples / "study.db", path)
    what = ground.random.random()
    if what < 0.5:
        path.write_bytes(mutate_bytes(path.read_bytes(), ground.random))
    else:
        table = ground.random.choice(TABLES)
        with sqlite3.connect(path) as database:
            if what < 0.75:
                database.execute(f"DROP TABLE {table}")
            else:
                columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
                with contextlib.suppress(sqlite3.Error):  # a key cannot be any text
                    database.execute(f"UPDATE {table} SET {ground.random.choice(columns)} = ?", ("x\x1b",))
    (ground.inside / "copy").mkdir()
    return command_line("study", "copy", "study", "copy")


def jobs(ground: Ground) -> Run:
    """The files of a job's folder: its request, as a worker reads it, and its result, as a driver does."""
    from tests.made_up import job_request

    request = job_request("profile").model_dump(mode="json")
    content = as_json(request, ground.random)
    reply = as_json(json.loads((ground.samples / "reply.json").read_text()), ground.random)

    def run() -> int:
        from jetbench.execution.worker import main
        from jetbench.files import read_json
        from tests.fuzz.samples import task

        folder = ground.inside / "job"
        folder.mkdir()
        if ground.random.random() < 0.5:
            (folder / "request.json").write_bytes(content)
            code = main(folder)
            return 0 if code in (0, 1) else code
        (folder / "result.json").write_bytes(reply)
        raw = read_json(folder / "result.json")
        task().keep(ground.random.choice(("train", "profile")), (raw or {}).get("result"))
        return 0

    return run


SURFACES: dict[str, Callable[[Ground], Run]] = {
    "sweep": sweeps,
    "search": searches,
    "space": spaces,
    "architecture": architectures,
    "own network": own_networks,
    "device": devices,
    "trtexec": others_times,
    "latency model": latency_models,
    "--set": changes,
    "options": options,
    "records": records,
    "report folder": study_files,
    "result.json": results,
    "weights": weights,
    "manifest": manifests,
    "model file": model_files,
    "image": images,
    "dataset": datasets,
    "folder": folders,
    "cache": caches,
    "study.db": databases,
    "job folder": jobs,
}
# Files that a case must keep, by its surface: what a read verb reads.
READ_ONLY = {"records": ("study/records.jsonl",)}
__all__ = ["READ_ONLY", "SURFACES", "Ground", "value"]
