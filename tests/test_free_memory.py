"""What is left of the limits of containers and jobs."""

import os

import numpy as np
import pytest

from sklearn_ckn._common import free_memory
from sklearn_ckn._common.free_memory import (
    _left_in_control_groups,
    free_memory_bytes,
)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_of_this_machine():
    names = "SC_PAGE_SIZE", "SC_PHYS_PAGES"
    assert 0 < free_memory_bytes() <= np.prod([os.sysconf(name) for name in names])


@pytest.mark.parametrize("folder", ["job/step", "job", ""])
def test_limits_of_version_2(tmp_path, folder):
    write(tmp_path / "proc/self/cgroup", "0::/job/step\n")
    place = tmp_path / "sys/fs/cgroup" / folder
    write(place / "memory.max", "1000\n")
    write(place / "memory.current", "700\n")
    write(place / "memory.stat", "anon 600\nfile 100\n")
    assert list(_left_in_control_groups(tmp_path)) == [400]


def test_limits_of_version_1(tmp_path):
    write(tmp_path / "proc/self/cgroup", "5:cpu,memory:/job\n4:devices:/job\n")
    place = tmp_path / "sys/fs/cgroup/memory/job"
    write(place / "memory.limit_in_bytes", "1000\n")
    write(place / "memory.usage_in_bytes", "900\n")
    write(place / "memory.stat", "cache 50\nrss 850\n")
    assert list(_left_in_control_groups(tmp_path)) == [150]


def test_no_limit(tmp_path):
    assert list(_left_in_control_groups(tmp_path)) == []
    write(tmp_path / "proc/self/cgroup", "0::/job\n")
    place = tmp_path / "sys/fs/cgroup/job"
    write(place / "memory.max", "max\n")
    write(place / "memory.current", "700\n")
    write(place / "memory.stat", "file 100\n")
    assert list(_left_in_control_groups(tmp_path)) == []


def test_the_smallest_limit_counts(monkeypatch):
    monkeypatch.setattr(free_memory, "_available_on_linux", lambda: 500)
    monkeypatch.setattr(free_memory, "_left_in_control_groups", lambda _: [400, 700])
    assert free_memory_bytes() == 400
    monkeypatch.setattr(free_memory, "_left_in_control_groups", lambda _: [-1])
    assert free_memory_bytes() == 0


def test_other_systems(monkeypatch):
    monkeypatch.setattr(free_memory, "_available_on_linux", lambda: None)
    assert free_memory_bytes() > 0
    monkeypatch.delattr(free_memory.os, "sysconf", raising=False)
    assert free_memory_bytes() == free_memory.ASSUMED_BYTES
