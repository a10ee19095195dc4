"""How much memory a process may still take, by what the operating system says."""

import os
from pathlib import Path, PurePosixPath

#: Assumed where the operating system does not say.
ASSUMED_BYTES = 4 * 2**30


def free_memory_bytes():
    """Return about how much memory this process can still take, in bytes.

    On Linux it is the available memory of the machine, or what is left of the limit of
    a container or a job (control groups) if that is less. Elsewhere it is half of the
    memory of the machine, or 4 GiB where that is not known.
    """
    available = _available_on_linux()
    if available is None:
        return _half_of_machine()
    return max(0, min([available, *_left_in_control_groups(Path("/"))]))


def _available_on_linux():
    """Return the memory that can be had without swapping, or None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _half_of_machine():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return ASSUMED_BYTES


def _left_in_control_groups(root):
    """Yield what is left of the limits of this process's control groups.

    Parameters
    ----------
    root : Path
        The root of the file system.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, limit, used, cache = "", "memory.max", "memory.current", "file"
        elif "memory" in controllers.split(","):
            mount, limit = "memory", "memory.limit_in_bytes"
            used, cache = "memory.usage_in_bytes", "cache"
        else:
            continue
        # In a container, the path may be that of the host: the root is then its own.
        group = PurePosixPath(path).relative_to("/")
        for folder in (group, *group.parents):
            place = root / "sys/fs/cgroup" / mount / folder
            try:
                left = int((place / limit).read_text()) - int(
                    (place / used).read_text()
                )
                statistics = (place / "memory.stat").read_text().split()
            except (OSError, ValueError):
                # No such group, or no limit ("max").
                continue
            # Pages of files are given up when memory is needed.
            pages = dict(zip(statistics[::2], statistics[1::2], strict=True))
            yield left + int(pages.get(cache, 0))
