"""The tables and figures of ``time_to_accuracy.py``, from its results."""

from dataclasses import dataclass
from math import hypot

from _accuracy_models import FAMILIES, FAMILY_OF, is_ours

#: Seconds that a user may want to wait.
BUDGETS = (5, 10, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class Point:
    """Time of a fit in seconds, and accuracy on the test images, both in %."""

    name: str
    seconds: float
    accuracy: float
    standard_error: float

    @classmethod
    def of(cls, record):
        """Return the point of a result."""
        accuracy, n_test = record["accuracy"], record["n_test"]
        error = (accuracy * (1 - accuracy) / n_test) ** 0.5
        return cls(record["model"], record["fit_seconds"], 100 * accuracy, 100 * error)


def front_of(points):
    """Return the points that no other point is both faster and more accurate than.

    They are sorted by their time.
    """
    front = []
    for point in sorted(points, key=lambda each: (each.seconds, -each.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def best_within(points, seconds):
    """Return the most accurate point within some seconds, or None."""
    within = [point for point in points if point.seconds <= seconds]
    return max(within, key=lambda point: point.accuracy, default=None)


def print_tables(records, limit):
    """Print the tables of each set, from results of the same rows and threads."""
    for set_name, of_set in by_set(records).items():
        first = next(iter(of_set))
        print(
            f"\n{set_name}: {first['n_train']} images to train, {first['n_test']} to "
            f"test; {first['threads']} threads, {first['processor']}"
        )
        points = [Point.of(each) for each in of_set if each["accuracy"] is not None]
        front = front_of(points)
        print(f"{'model':26} | s to fit | accuracy % | error | front")
        for point in sorted(points, key=lambda each: each.seconds):
            mark = "*" if point in front else ""
            print(
                f"{point.name:26} | {point.seconds:8.1f} | {point.accuracy:10.2f} | "
                f"{point.standard_error:5.2f} | {mark}"
            )
        for each in of_set:
            if each["accuracy"] is None:
                print(f"{each['model']:26} | not within {each['limit']:.0f} s")
        missing = FAMILY_OF.keys() - {each["model"] for each in of_set}
        if missing:
            print(f"not measured: {'; '.join(sorted(missing))}")
        _print_budgets(points, limit)


def by_set(records):
    """Return the results of each set."""
    sets = {}
    for record in records:
        sets.setdefault(record["set"], []).append(record)
    return sets


def _print_budgets(points, limit):
    """Print who is ahead within each budget, and whether a peer is ahead anywhere."""
    ours = [point for point in points if is_ours(point.name)]
    peers = [point for point in points if not is_ours(point.name)]
    print(f"budget s | {'ours':33} | {'best peer':33} | difference")
    for seconds in BUDGETS:
        if seconds > limit:
            break
        pair = best_within(ours, seconds), best_within(peers, seconds)
        columns = [_cell(point) for point in pair]
        print(f"{seconds:8} | {columns[0]:33} | {columns[1]:33} | {_verdict(*pair)}")
    ahead = []
    for peer in front_of(peers):
        best = best_within(ours, peer.seconds)
        if best is None or best.accuracy < peer.accuracy:
            ahead.append(f"{peer.name} at {peer.seconds:.1f} s")
    if ahead:
        print(f"peers above our front: {', '.join(ahead)}")
    else:
        print("our front is on or above that of all peers that were measured")


def _cell(point):
    return "" if point is None else f"{point.name} {point.accuracy:.2f}"


def _verdict(ours, peer):
    """Return which of two points, or None, is more accurate."""
    if ours is None or peer is None:
        return (
            "nothing fitted" if ours is peer else f"{'peer' if peer else 'ours'} only"
        )
    difference = ours.accuracy - peer.accuracy
    # The test images are the same, which makes the error of a difference smaller.
    error = hypot(ours.standard_error, peer.standard_error)
    if abs(difference) <= error:
        return f"{difference:+.2f}, within the error {error:.2f}"
    return f"{difference:+.2f}, {'ours' if difference > 0 else 'the peer'} ahead"


def draw_figures(records, folder):
    """Draw accuracy against the time of fits into a file for each set."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for set_name, of_set in by_set(records).items():
        points = [Point.of(each) for each in of_set if each["accuracy"] is not None]
        front = front_of(points)
        figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
        for family in FAMILIES:
            line = [point for point in points if FAMILY_OF[point.name] == family]
            if line:
                axes.errorbar(
                    [point.seconds for point in line],
                    [point.accuracy for point in line],
                    [point.standard_error for point in line],
                    marker="o",
                    capsize=2,
                    label=family,
                )
        axes.plot(
            [point.seconds for point in front],
            [point.accuracy for point in front],
            "o",
            markersize=13,
            markerfacecolor="none",
            color="black",
            label="front of all",
        )
        for point in front:
            axes.annotate(
                f"{point.accuracy:.1f}",
                (point.seconds, point.accuracy),
                xytext=(0, 10),
                textcoords="offset points",
                ha="center",
            )
        axes.set(
            xscale="log",
            xlabel=f"seconds to fit, {of_set[0]['threads']} threads",
            ylabel="accuracy in %",
            title=f"{set_name}, {of_set[0]['n_train']} training images",
        )
        axes.set_xticks(BUDGETS, BUDGETS)
        axes.minorticks_off()
        axes.margins(y=0.12)
        axes.legend(fontsize="small")
        path = folder / f"time_to_accuracy_{set_name}.svg"
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
        print(f"wrote {path}")
