"""Checkpoint: all that a training needs to go on at the same step as if it had not been killed."""

import hashlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from jetbench.files import replaced

EVERY_S = 20.0
DIGEST_BYTES = 32
LARGEST_SHARE = 0.02
"""Of a training's time that may go into checkpoints."""


class Checkpoint:
    """One file that is replaced as a whole, now and then.

    It belongs to one training: `identity` is all that its result depends on. What is there of another, or damaged, is
    as good as nothing.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self._last, self._cost_s = time.monotonic(), 0.0

    @property
    def is_due(self) -> bool:
        """Is it time to save? Less often where it takes long."""
        return time.monotonic() - self._last >= max(EVERY_S, self._cost_s / LARGEST_SHARE)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace what was saved.

        Raises:
            OSError: the disk is full or gone; what was saved before is still there.
        """
        begin = time.monotonic()
        # To memory first: torch's own writer ends the process where a disk is full, and its reader checks no content.
        buffer = io.BytesIO()
        torch.save({**state, "identity": self.identity}, buffer)
        content = buffer.getbuffer()
        try:
            with replaced(self.path) as partial, partial.open("wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
        finally:
            self._last = time.monotonic()  # of one that failed too: it is not tried again at once
            self._cost_s = self._last - begin

    def load(self) -> dict[str, Any] | None:
        """What was saved of this training; None if there is nothing to go on from."""
        try:
            told = self.path.read_bytes()
        except OSError:
            return None
        digest, content = told[:DIGEST_BYTES], told[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state if state["identity"] == self.identity else None
