"""Hostile values, and mutations of YAML, JSON and bytes. All from one random generator, so a seed repeats a case."""

import copy
import json
import random
from typing import Any

import yaml

HOSTILE_TEXTS = (
    "",
    " ",
    "\x1b[31mred\x1b[2J",
    "\x9b31m",
    "\u202eevil",
    "[/red]",
    "[bold]x[/]",
    "$x^{$",
    "=cmd|' /C calc'!A0",
    "../../../escaped",
    "/proc/self/mem",
    "a/b",
    "x" * 300,
    "x" * 100_000,
    "nan",
    "null",
    "1:30",
    "010",
    "1_000",
    "yes",
    "2001-99-99",
    "9" * 5_000,
    "+" + "9" * 400,
    "x" + "9" * 400,
    "at-most-" + "9" * 400,
    "</script><script>",
    "a|b`<b>",
    "%s%n{0}{x!r}",
    "\N{CJK UNIFIED IDEOGRAPH-8DEF}",
    "3a 5a 7a",
    "100000x100000",
    "0x0",
    "-1x-1",
    "1e999",
    "\n\n",
    "\t",
    "--help",
)
HOSTILE_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    10**6,
    10**9,
    10**17,
    10**400,
    -(10**400),
    0.5,
    -0.5,
    1e308,
    float("inf"),
    float("nan"),
    [],
    {},
    [None],
    [[]],
    [1, 2, 3],
    {"a": 1},
    {"": None},
    [[[[[[[[]]]]]]]],
    list(range(2_000)),
)
BAD_YAML = (
    "a: [1",
    "a: &a [*a]",
    "a: !!int x",
    "a: !!bool x",
    "a: !!python/object/apply:os.system [id]",
    "a: 2001-99-99",
    "[" * 1_000,
    "a: " + "9" * 5_000,
    "? [1]\n: 2",
    "a: 1\na: 2",
    "\0",
    "%YAML 9.9\n---\na: 1",
    "a: &x 1\n<<: *x",
    "b: &b {base: jetseg-nano}\n<<: *b",
    "- 1\n- 2",
    "base: jetseg-nano\n\tx: 1",
    "&a a: &b b\n*a : *b",
)


def value(random_: random.Random) -> Any:
    """One hostile value."""
    return random_.choice(HOSTILE_TEXTS) if random_.random() < 0.5 else copy.deepcopy(random_.choice(HOSTILE_VALUES))


def _places(data: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in nested data."""
    found = [above] if above else []
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, child in list(members)[:60]:
        found += _places(child, (*above, key))
    return found


def mutate_data(data: Any, random_: random.Random) -> Any:
    """The data with one to three things replaced, removed, renamed or added."""
    data = copy.deepcopy(data)
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        places = _places(data)
        if not places:
            return value(random_)
        *parents, last = random_.choice(places)
        held = data
        for key in parents:
            held = held[key]
        what = random_.random()
        if what < 0.6:
            held[last] = value(random_)
        elif what < 0.75:
            del held[last]
        elif isinstance(held, dict):
            new = value(random_)
            held[new if isinstance(new, str) else str(last) + "x"] = held.pop(last) if what < 0.85 else value(random_)
        elif isinstance(held, list):
            held.extend([held[last]] * random_.choice((1, 2, 500)))
    return data


def mutate_bytes(content: bytes, random_: random.Random) -> bytes:
    """The bytes with some changed, cut off, doubled or removed."""
    data = bytearray(content)
    what = random_.random()
    if what < 0.2:
        return bytes(data[: random_.randrange(len(data) + 1)])
    if what < 0.3:
        return bytes(data) * 2
    if what < 0.35:
        return b""
    if what < 0.4:
        return random_.randbytes(random_.choice((1, 100, 10_000)))
    for _ in range(random_.choice((1, 3, 30))):
        at = random_.randrange(len(data)) if data else 0
        if random_.random() < 0.7 and data:
            data[at] = random_.randrange(256)
        elif random_.random() < 0.5:
            del data[at : at + random_.choice((1, 4, 50))]
        else:
            data[at:at] = random_.randbytes(random_.choice((1, 4, 50)))
    return bytes(data)


def as_yaml(data: Any, random_: random.Random) -> bytes:
    """Mutated data as YAML, sometimes broken as a text."""
    what = random_.random()
    if what < 0.1:
        return random_.choice(BAD_YAML).encode()
    try:
        text = yaml.safe_dump(mutate_data(data, random_), allow_unicode=True, sort_keys=False)
    except (ValueError, yaml.YAMLError):  # 10^400 is too long for Python to write
        text = yaml.safe_dump(data) + f"\nbase_channels: {'9' * 401}\n"
    content = text.encode("utf-8", "surrogatepass")
    if what < 0.2:
        return content + random_.choice(BAD_YAML).encode()
    return mutate_bytes(content, random_) if what < 0.35 else content


def as_json(data: Any, random_: random.Random) -> bytes:
    """Mutated data as JSON, sometimes broken as a text."""
    what = random_.random()
    if what < 0.05:
        return b"[" * 100_000
    changed = mutate_data(data, random_)
    try:
        content = json.dumps(changed).encode()
    except ValueError:  # 10^400 is too long for Python to write
        content = json.dumps(data).replace("1", "1" * 5_000, 1).encode()
    return mutate_bytes(content, random_) if what < 0.25 else content
