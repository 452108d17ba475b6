"""predict: what a trained network sees in images, as class ids and laid over them in colour."""

from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import app, check_folder, console
from jetbench.errors import SpecError


@app.command()
def predict(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The network that the weights are of: jetseg-nano.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG or JPEG files.")],
    weights: Annotated[
        Path, typer.Option("--weights", metavar="W", help="A .safetensors file that a sweep or search has saved.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pictures go.")] = Path("predictions"),
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the colours over the image.")] = 0.55,
) -> None:
    """Show what a trained network sees: each image with its classes in colour over it, and the class ids as a PNG.

    An image is resized to the size that the network was trained at, and its classes back to the image's own.
    """
    from jetbench.models.weights import load_weights
    from jetbench.training.predict import load_image, predict_image, write_overlay

    network, saved = load_weights(weights)
    if saved.architecture.name != name:
        raise SpecError(f"{weights}: is of {saved.architecture.name}, not of {name}")
    stems = [path.stem for path in images]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise SpecError(f"two images are called {', '.join(twice)}: their pictures would overwrite each other")
    opened = [(path, load_image(path)) for path in images]  # all of them, before anything is written
    check_folder(out, [], option="--out")
    out.mkdir(parents=True, exist_ok=True)
    for path, image in opened:
        ids = predict_image(network, saved, image)
        written = write_overlay(out, path.stem, image, ids, saved.num_classes, opacity)
        console.print(
            f"{path}: {', '.join(each.name for each in written)}", highlight=False, soft_wrap=True, markup=False
        )
    console.print(f"Written to {out}.", highlight=False, soft_wrap=True, markup=False)
