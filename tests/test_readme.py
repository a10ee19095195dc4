"""The code of the README that reads a folder of image files."""

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


def test_a_folder_of_image_files(digits, tmp_path, monkeypatch, capsys):
    if not README.exists():
        pytest.skip("only the tests were copied")
    pictures = pytest.importorskip("PIL.Image")
    for i in range(150):
        target = tmp_path / "images" / str(digits[1][i])
        target.mkdir(parents=True, exist_ok=True)
        pixels = (255 * digits[0][i] / digits[0][i].max()).astype(np.uint8)
        pictures.fromarray(pixels).resize((20 + i % 5, 24)).save(target / f"{i}.png")
    code = re.search(
        r"<!-- folder -->\n```python\n(.*?)```", README.read_text("utf-8"), re.S
    )
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code[1], names)
    score, _ = capsys.readouterr().out.split(" ", 1)
    # A classifier that guesses is right once in ten times.
    assert float(score) > 0.8
    assert names["model"].classes_.tolist() == [str(digit) for digit in range(10)]
