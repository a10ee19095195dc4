"""The script of the GPU check: its parts have limits, and survive each other."""

import sys
import time
from argparse import Namespace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from zipfile import ZipFile

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "gpu"

pytestmark = [
    pytest.mark.skipif(not SCRIPT.exists(), reason="a source distribution"),
    pytest.mark.skipif(sys.platform == "win32", reason="sessions of processes"),
]

# Prints what the package of the wheel says, and goes on for ever in another process.
ENDLESS = (
    "import packed, subprocess, sys, time\n"
    "print(packed.VALUE)\n"
    "subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("gpu_check", str(SCRIPT))
    module = module_from_spec(spec_from_loader("gpu_check", loader))
    monkeypatch.setitem(sys.modules, "gpu_check", module)
    loader.exec_module(module)
    return module


@pytest.fixture
def options(tmp_path):
    (tmp_path / "folder" / "wheels").mkdir(parents=True)
    (tmp_path / "folder" / "benchmarks").mkdir()
    with ZipFile(tmp_path / "folder" / "wheels" / "packed-1-py3-none-any.whl", "w") as (
        wheel
    ):
        wheel.writestr("packed.py", "VALUE = 'from the wheel'\n")
    return Namespace(
        folder=tmp_path / "folder",
        parts=["endless", "failing", "passing", "late"],
        minutes=1.0,
        log=tmp_path / "log",
        trial=False,
    )


def test_parts_survive_each_other(script, options, monkeypatch, capsys):
    monkeypatch.setattr(script, "DESCRIBE", "print('described')")
    parts = [
        script.Part("endless", ("-c", ENDLESS), 2),
        script.Part("failing", ("-c", "1 / 0"), 30),
        script.Part("left out", ("-c", "print('not chosen')"), 30),
        script.Part("passing", ("-c", "print('as it should')"), 30),
        script.Part("late", ("-c", "print('too late')"), 30),
    ]
    monkeypatch.setattr(script, "PARTS", parts)
    # Nothing is begun where less is left than this.
    ticks = iter([0.0, *[1.0] * 10, *[59.0] * 100])
    clock = Namespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr(script, "time", clock)
    start = time.monotonic()
    failed = script.run(options)
    assert time.monotonic() - start < 60
    assert failed == ["endless", "failing", "late"]
    printed = capsys.readouterr().out
    assert options.log.read_text() == printed
    for text in ("described", "from the wheel", "ZeroDivisionError", "as it should"):
        assert text in printed
    assert "not chosen" not in printed
    assert "too late" not in printed
    summary = printed[printed.index("== summary") :]
    states = [line.split(" s  ")[1] for line in summary.splitlines()[1:5]]
    assert states == [
        "STOPPED at its limit",
        "FAILED with 1",
        "passed",
        "not run: no time is left",
    ]


def test_a_folder_that_is_missing(script, options):
    options.folder = options.folder / "elsewhere"
    with pytest.raises(SystemExit, match="prepare first"):
        script.run(options)


def test_data_that_is_missing(script, tmp_path):
    with pytest.raises(SystemExit, match="cifar10_train"):
        script.copy_data(tmp_path, tmp_path)


def test_everything_that_parts_run_is_there(script):
    root = SCRIPT.parents[1]
    names = [name for part in script.PARTS for name in part.command]
    files = [root / name for name in names if name.endswith(".py")]
    assert files
    assert all(file.exists() for file in files)
