"""A bundle on the board: what it holds, if it arrived whole, and what has been measured of it so far.

Needs Python 3.6 and torch.
"""

import hashlib
import json
import os
import platform
import shutil
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch

from . import machine

SUMS, REQUEST, RESULT, MEASURED = "SHA256SUMS", "request.json", "result.json", "measured"
VERSION = 2
"""Of request.json and result.json."""
DAMAGED = 5
"""Exit code of the probe for a bundle that is not as it was packed."""
CHUNK = 2**20


class BundleError(Exception):
    """The bundle cannot be used; the message says why and how to mend it."""


class Bundle:
    """The folder that `jetbench bundle` wrote.

    Raises:
        BundleError: the folder is no bundle of this version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            text = (folder / REQUEST).read_text(encoding="utf-8")
            self.request: Dict[str, Any] = json.loads(text)
        except (OSError, ValueError) as error:
            raise BundleError("{}: no readable bundle ({})".format(folder, error)) from None
        if not isinstance(self.request, dict) or self.request.get("version") != VERSION:
            raise BundleError("{}: is no bundle of this probe's version; write it again".format(folder))
        self.digest = hashlib.sha256(text.encode("utf-8")).hexdigest()

    @property
    def networks(self) -> List[Dict[str, Any]]:
        """Its networks, each with `cases`: the forms in which it runs."""
        return list(self.request["networks"])

    def check(self) -> None:
        """Compare every file with the list of checksums.

        Raises:
            BundleError: a file is missing, or differs from what was packed.
        """
        try:
            lines = (self.folder / SUMS).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            raise BundleError("{}: cannot be read; copy the bundle again".format(self.folder / SUMS)) from None
        for line in lines:
            expected, _, name = line.partition("  ")
            if _digest_of(self.folder / name) != expected:
                raise BundleError("{}: is not as it was packed; copy the bundle again".format(self.folder / name))

    def images(self) -> Optional[Tuple[torch.Tensor, torch.Tensor]]:
        """The images to score, uint8 (N, H, W, 3), and their labels, uint8 (N, H, W); None if it holds none."""
        data = self.request.get("data")
        if data is None:
            return None
        count, (height, width) = data["images"], data["size"]
        pixels = self._read(data["pixels"]).view(count, height, width, 3)
        return pixels, self._read(data["labels"]).view(count, height, width)

    def classes_of(self, network: Dict[str, Any]) -> torch.Tensor:
        """The classes that PyTorch gave those images where the bundle was made, uint8 (N, H, W)."""
        count, (height, width) = self.request["data"]["images"], self.request["data"]["size"]
        return self._read(network["classes"]).view(count, height, width)

    def _read(self, name: str) -> torch.Tensor:
        data = bytearray(zlib.decompress((self.folder / name).read_bytes()))
        if hasattr(torch, "frombuffer"):
            return torch.frombuffer(data, dtype=torch.uint8)
        storage = torch.ByteStorage.from_buffer(data)  # type: ignore[no-untyped-call]
        return torch.ByteTensor(storage)

    def place(self) -> Path:
        """The folder of what this board has measured with this software.

        Another board, to which the bundle was copied, has its own, and so has another Python, torch or TensorRT.
        """
        identity = dict(machine.board_identity(), node=platform.node(), python=sys.executable)
        identity["torch"] = "{} {}".format(torch.__version__, torch.cuda.is_available())
        identity["tensorrt"] = str(find_spec("tensorrt"))
        key = hashlib.sha256((json.dumps(identity, sort_keys=True) + self.digest).encode()).hexdigest()
        return self.folder / MEASURED / key[:12]

    def kept(self, name: str) -> Optional[Dict[str, Any]]:
        """What was measured under a name before the probe was ended; None if nothing was."""
        try:
            known = json.loads((self.place() / (name + ".json")).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return known if isinstance(known, dict) else None

    def keep(self, name: str, findings: Dict[str, Any]) -> None:
        """Write findings under a name, whole or not at all."""
        path = self.place() / (name + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(findings))

    def forget(self) -> None:
        """Remove what this board has measured."""
        shutil.rmtree(str(self.place()), ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Replace a text file in one step, after its bytes are on the disk: a board may lose its power."""
    part = path.with_name(path.name + ".part")
    with open(str(part), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(str(part), str(path))


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(str(path), "rb") as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
