"""Where the program and the operator library are, and loading the latter into torch."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from entrain.errors import IoError

_PACKAGE = Path(__file__).resolve().parent
_OPS = "libentrain_ops.so"


def _places(name: str, folder: str) -> list[Path]:
    """``ENTRAIN_BUILD`` goes first, then what the package carries, then the build folder of a checkout."""
    places = [_PACKAGE / folder / name, _PACKAGE.parents[1] / "build" / name]
    if named := os.environ.get("ENTRAIN_BUILD"):
        places.insert(0, Path(named) / name)
    return places


def find(name: str, folder: str) -> Path:
    """The file of that name. Raises IoError where it was not built."""
    for path in _places(name, folder):
        if path.is_file():
            return path
    raise IoError(f"there is no {name} beside the Python package", "install with `pip install --no-build-isolation .`, or name a build folder in ENTRAIN_BUILD")


def program() -> Path:
    """The program ``entrain``."""
    return find("entrain", "bin")


def environment() -> dict[str, str]:
    """This process's environment, with the torch in use first among the libraries a program is linked with."""
    folders = [str(Path(torch.__file__).parent / "lib"), str(find(_OPS, "lib").parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders)}


def built_for() -> str | None:
    """The version of torch that the operators were compiled against, where it is known."""
    for path in _places("torch_version.txt", "lib"):
        if path.is_file():
            return path.read_text().strip()
    return None


def load_operators() -> None:
    """Makes ``torch.ops.entrain.*`` usable. Raises IoError where library and torch do not fit together."""
    if hasattr(torch.ops.entrain, "rms_norm"):
        return
    path = find(_OPS, "lib")
    try:
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except OSError as error:
        built = built_for()
        fits = built is None or built == torch.__version__.split("+")[0]
        reason = str(error) if fits else f"it was built for torch {built}, this is {torch.__version__}"
        raise IoError(f"cannot load {path}: {reason}", "build it for this torch: pip install --no-build-isolation .") from error
