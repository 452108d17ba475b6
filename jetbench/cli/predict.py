"""predict: segment images with a trained network; writes class ids and colour overlays."""

from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import app, check_folder, console
from jetbench.errors import SpecError


@app.command()
def predict(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The network of the weights, such as jetseg-nano.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG or JPEG files.")],
    weights: Annotated[
        Path, typer.Option("--weights", metavar="W", help="A .safetensors file that a sweep or search saved.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Write the pictures to this folder.")] = Path(
        "predictions"
    ),
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Opacity of the colours over the image.")] = 0.55,
) -> None:
    """Segment images with a trained network: writes each image with its classes in colour, and the class ids as PNG.

    Images are resized to the network's training size, and the classes back to the size of the image.
    """
    from jetbench.data.pictures import count_frames, open_rgb
    from jetbench.models.weights import load_weights
    from jetbench.training.predict import predict_image, write_overlay

    network, saved = load_weights(weights)
    if saved.architecture.name != name:
        raise SpecError(f"{weights}: holds weights of {saved.architecture.name}, not of {name}; give that name")
    stems = [path.stem for path in images]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise SpecError(
            f"several images are called {', '.join(twice)}, and their pictures would overwrite each other; rename them"
        )
    for path in images:  # all of them, so that an error comes before any file
        open_rgb(path)
        if (frames := count_frames(path)) > 1:
            console.print(f"{path}: has {frames} frames; the first is read", highlight=False, markup=False)
    check_folder(out, [], option="--out")
    out.mkdir(parents=True, exist_ok=True)
    for path in images:
        image = open_rgb(path)
        ids = predict_image(network, saved, image)
        written = write_overlay(out, path.stem, image, ids, saved.num_classes, opacity)
        console.print(
            f"{path}: {', '.join(file.name for file in written)}", highlight=False, soft_wrap=True, markup=False
        )
    console.print(f"Written to {out}.", highlight=False, soft_wrap=True, markup=False)
