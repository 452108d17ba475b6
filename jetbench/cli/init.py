"""init: write a commented template of a YAML file, and its schema."""

import json
from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import NETWORKS, console, verb
from jetbench.cli.options import KindArgument, read_kind
from jetbench.errors import SpecError


@verb(NETWORKS)
def init(
    kind: KindArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the file, without .yaml; a path is allowed.")],
) -> None:
    """Write NAME.yaml, a commented sweep, search, space or architecture that runs as it is, and its schema beside it.

    `model` writes a network of your own, NAME.py and NAME.yaml; `dataset` the classes of a folder of images.

    The file names the schema, so that editors with a YAML language server complete and check its keys.
    """
    from jetbench.files import write_whole
    from jetbench.spec.schema import json_schema
    from jetbench.spec.templates import USES, template_of
    from jetbench.spec.values import check_folder_name, shorten

    if kind in OTHERS:
        _write_other(kind, name)
        return
    asked = read_kind(kind)
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    try:
        check_folder_name(path.stem)
    except ValueError:
        raise SpecError(f"{shorten(name)!r}: a name takes 1 to 80 letters, digits, . _ -") from None
    if not path.parent.is_dir():
        raise SpecError(f"{path}: the folder {path.parent} does not exist")
    if path.exists() or path.is_symlink():
        raise SpecError(f"{path}: exists already; give another name")
    schema = path.with_name(f"{asked}.schema.json")
    write_whole(schema, json.dumps(json_schema(asked), indent=2) + "\n")
    write_whole(path, template_of(asked, schema.name))
    use = USES[asked].format(file=path)
    console.print(f"Written: {path} and {schema}. Next: {use}", highlight=False, markup=False, soft_wrap=True)


OTHERS = ("model", "dataset")


def _write_other(kind: str, name: str) -> None:
    """Write the files of a network of one's own, or the classes of a dataset."""
    from jetbench.files import write_whole
    from jetbench.spec.templates import CLASSES, MODEL, MODEL_YAML
    from jetbench.spec.values import check_folder_name, shorten

    base = Path(name.removesuffix(".yaml").removesuffix(".py"))
    try:
        check_folder_name(base.name)
    except ValueError:
        raise SpecError(f"{shorten(name)!r}: a name takes 1 to 80 letters, digits, . _ -") from None
    if kind == "model":
        source = base.with_name(f"{base.name}.py")
        files = {source: MODEL, base.with_name(f"{base.name}.yaml"): MODEL_YAML.format(file=source.name)}
        use = f"jetbench show {base}.yaml"
    else:
        files = {base.with_name(f"{base.name}.yaml"): CLASSES}
        use = f"jetbench data check folder:PATH --classes {base}.yaml"
    if not base.parent.is_dir():
        raise SpecError(f"{base}: the folder {base.parent} does not exist")
    if there := next((path for path in files if path.exists() or path.is_symlink()), None):
        raise SpecError(f"{there}: exists already; give another name")
    for path, text in files.items():
        write_whole(path, text)
    console.print(
        f"Written: {' and '.join(map(str, files))}. Next: {use}", highlight=False, markup=False, soft_wrap=True
    )
