"""Checkpoint: the state with which a killed training resumes at the same step."""

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
"""Largest share of the training time that checkpoints may take."""


class Checkpoint:
    """One file, replaced atomically from time to time.

    It belongs to one training: `identity` contains all that the result depends on. A damaged file, or the checkpoint of
    another training, is ignored.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self._last, self._cost_s = time.monotonic(), 0.0

    @property
    def is_due(self) -> bool:
        """True if it is time to save; the interval grows with the cost of saving."""
        return time.monotonic() - self._last >= max(EVERY_S, self._cost_s / LARGEST_SHARE)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state.

        Raises:
            OSError: the disk is full or gone; the previous checkpoint is intact.
        """
        begin = time.monotonic()
        # Written to memory first: torch's own writer kills the process on a full disk, and its reader verifies nothing.
        buffer = io.BytesIO()
        torch.save({**state, "identity": self.identity}, buffer)
        content = buffer.getbuffer()
        try:
            with replaced(self.path) as partial, partial.open("wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
        finally:
            self._last = time.monotonic()  # also after a failure, so that it is not retried at once
            self._cost_s = self._last - begin

    def load(self) -> dict[str, Any] | None:
        """The saved state of this training; None if there is no usable checkpoint."""
        try:
            payload = self.path.read_bytes()
        except OSError:
            return None
        digest, content = payload[:DIGEST_BYTES], payload[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state if state["identity"] == self.identity else None
