"""Several small trainings at once or one after the other, and what the deterministic mode costs. `make benchmark`."""

import contextlib
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection

import pytest
import torch

from jetbench.execution.local import local_slots
from jetbench.probe.machine import cores, keep_freed_memory
from jetbench.training.loop import _deterministic
from tests.benchmarks.test_training import OurLoop, data, network

pytestmark = pytest.mark.benchmarks

SIZE, BATCH, ROUNDS, SECONDS = (96, 128), 8, 7, 6.0


def serve(threads: int, orders: Connection) -> None:
    """Train for as long as is asked each time; tell how many images and processor seconds that took."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    loop = OurLoop(data(SIZE, BATCH), network("jetseg-nano", SIZE), BATCH)
    with contextlib.suppress(EOFError):  # the test has ended
        while True:
            seconds, is_deterministic = orders.recv()
            begin, end, images = time.process_time(), time.monotonic() + seconds, 0
            with _deterministic(is_deterministic):
                while time.monotonic() < end:
                    loop.step()
                    images += BATCH
            orders.send((images, time.process_time() - begin))


def start(threads: int) -> Connection:
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    spawn.Process(target=serve, args=(threads, theirs), daemon=True).start()
    mine.send((0.1, False))  # loads, and makes a step that does not count
    mine.recv()
    return mine


def together(processes: list[Connection], is_deterministic: bool = False) -> tuple[float, float]:
    """Images a second of all of them in sum, and processor seconds an image."""
    begin = time.monotonic()
    for each in processes:
        each.send((SECONDS, is_deterministic))
    images, processor_s = map(sum, zip(*(each.recv() for each in processes), strict=True))
    return images / (time.monotonic() - begin), processor_s / images


def describe(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.2f} [{ordered[0]:.2f}, {ordered[-1]:.2f}]"


def test_as_many_trainings_as_cores_are_the_fastest_in_sum() -> None:
    """The default of `--jobs` beside other ways to use the same cores, in turn; ratios of pairs, by their medians."""
    default = local_slots("cpu", 1, None)["cpu"]
    assert default == cores()
    single = [start(1) for _ in range(2 * default)]
    ways = {
        f"{default} trainings of one thread": single[:default],
        "one training of one thread": single[:1],
        f"one training of {default} threads": [start(default)],
        f"{2 * default} trainings of one thread": single,
    }
    rounds = [{name: together(processes)[0] for name, processes in ways.items()} for _ in range(ROUNDS)]
    first = next(iter(ways))
    print(f"\njetseg-nano, batch {BATCH} at {SIZE[0]}x{SIZE[1]}, {default} cores:")
    for name in ways:
        rates, ratios = [each[name] for each in rounds], [each[first] / each[name] for each in rounds]
        print(f"  {name}: {describe(rates)} images/s in sum; the default is {describe(ratios)} times as fast")
    for name in ways:
        assert statistics.median(each[first] / each[name] for each in rounds) >= 0.95, name


def test_what_the_deterministic_mode_costs_on_a_processor() -> None:
    """Processor seconds an image, in turn."""
    process = start(1)
    pairs = [(together([process], True)[1], together([process], False)[1]) for _ in range(ROUNDS)]
    ratios = [slow / fast for slow, fast in pairs]
    print(f"\ndeterministic: {describe(ratios)} times the processor seconds of a step without")
    assert statistics.median(ratios) <= 1.1
