"""devices: list the devices that networks are profiled on or estimated for."""

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from jetbench.cli import completion
from jetbench.cli.app import MACHINES, JsonOption, console, verb
from jetbench.network.rules import format_size
from jetbench.reporting.terminal import print_whole
from jetbench.spec.device import Device, device_names, load_device


@verb(MACHINES)
def devices(
    name: Annotated[
        str | None,
        typer.Argument(autocompletion=completion.devices, help="Show all figures of this device, or of a .yaml file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices that networks are profiled on or estimated for, or show one with the source of each figure."""
    if name is not None:
        _show_device(load_device(name), as_json)
        return
    listed = [load_device(device) for device in device_names()]
    if as_json:
        typer.echo(json.dumps([device.model_dump(mode="json") for device in listed], indent=2))
        return
    table = Table(title="Devices; peaks are data sheet figures", title_justify="left", box=None, pad_edge=False)
    for heading in ("name", "device", "preset", "input", "power from"):
        table.add_column(heading, no_wrap=True)
    for heading in ("fp32 TFLOPS", "fp16 tensor TFLOPS", "GB/s"):
        table.add_column(heading, justify="right")
    for device in listed:
        _, peaks = device.peaks_of(None)
        shown = [
            f"{peaks[key].value / scale:.3g}" if key in peaks else "\N{EM DASH}"
            for key, scale in (("fp32", 1e12), ("fp16_tensor", 1e12), ("bandwidth", 1e9))
        ]
        sensors = ", ".join(device.sensors) or "\N{EM DASH}"
        table.add_row(device.name, device.title, device.preset, format_size(device.size), sensors, *shown)
    print_whole(console, table)
    console.print(
        "[dim]`jetbench devices NAME` shows rails, total rule, power modes and every source. Without a GPU, the peaks "
        "of workstation are those of the Titan RTX. For your own device, copy a file of jetbench/devices, edit it and "
        "give its path.[/]",
        highlight=False,
    )


def _show_device(device: Device, as_json: bool) -> None:
    if as_json:
        typer.echo(device.model_dump_json(indent=2))
        return
    rows = [
        ("device", f"{device.title} ({device.name})"),
        ("preset", f"{device.preset}: {device.preset_reason}"),
        ("input", f"{format_size(device.size)} (HxW), {device.dtype}"),
        ("sensors", f"{', '.join(device.sensors) or 'none'}, in this order"),
    ]
    if device.power:
        rule = " + ".join(device.power.total) or "everything that the sensor counts"
        rows += [
            ("rails", ", ".join(device.power.rails) or "those that the sensor shows"),
            ("total", f"{rule}: {device.power.scope}"),
            ("", f"source: {device.power.source}"),
        ]
    cards = device.gpus or ()
    for title, peaks in [(card.name, card.peaks) for card in cards] or [("peaks", device.peaks)]:
        for key, peak in peaks.items():
            unit, scale = ("GB/s", 1e9) if key == "bandwidth" else ("TFLOPS", 1e12)
            derived = f" = {peak.derived}" if peak.derived else ""
            rows.append((title, f"{key} {peak.value / scale:.4g} {unit}{derived}; {peak.source}"))
    for label, value in (
        ("power modes", "; ".join(mode.describe() for mode in device.power_modes)),
        ("", f"source: {device.power_modes_source}" if device.power_modes else ""),
        ("JetPack", device.jetpack),
        ("TensorRT", device.tensorrt),
        ("builds", ", ".join(device.precisions)),
        ("container", device.container),
        ("modules", ", ".join(device.modules)),
    ):
        if value:
            rows.append((label, value))
    rows += [
        ("reported", f"{figure.quantity} {figure.value:g}: {figure.network}; {figure.protocol}; {figure.source}")
        for figure in device.reported
    ]
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for label, text in rows:
        grid.add_row(escape(label), escape(text))
    console.print(grid, highlight=False)
