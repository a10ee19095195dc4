"""The versions that the citation and the README name are that of the package."""

import re
from pathlib import Path

import pytest

from sklearn_ckn import __version__

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("CITATION.cff", r"^version: (\S+)$"),
        ("README.md", r"^  version = \{(\S+)\}$"),
    ],
)
def test_version(name, pattern):
    if not (ROOT / name).exists():
        pytest.skip("only the tests were copied")
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(pattern, text, re.MULTILINE) == [__version__]
