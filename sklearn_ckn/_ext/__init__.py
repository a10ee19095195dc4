"""Compiled modules of the package."""

from importlib.util import find_spec
from pathlib import Path

if find_spec(f"{__name__}._cpu") is None:
    raise ImportError(
        f"The compiled modules of sklearn_ckn are not in {Path(__file__).parent}, or "
        "are for another Python. If that is a folder of the sources, from which Python "
        "takes the package because it was started there: start it elsewhere, or "
        "install with pip install --editable, and again with every other Python."
    )
