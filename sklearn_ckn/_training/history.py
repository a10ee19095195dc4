"""The training history: the values recorded for each epoch, and the printed line."""


def extended(history, epoch, with_betas):
    """Return a new history with one more epoch.

    Parameters
    ----------
    history : dict of list
        May be empty.
    epoch : Epoch
    with_betas : bool
        Whether to record the betas too.

    Returns
    -------
    history : dict of list
    """
    names = (
        "objective",
        "batch_loss",
        "validation_score",
        "learning_rate",
        "seconds",
    )
    row = {"epoch": epoch.number} | {name: getattr(epoch, name) for name in names}
    if with_betas:
        row |= {f"beta_{i}": beta for i, beta in enumerate(epoch.network.betas)}
    return {name: [*history.get(name, []), value] for name, value in row.items()}


def describe(epoch):
    """Return the line that is printed for an epoch."""
    return (
        f"epoch {epoch.number}: objective {epoch.objective:.5f}, batch loss "
        f"{epoch.batch_loss:.5f}, validation accuracy {epoch.validation_score:.4f}, "
        f"rate {epoch.learning_rate:.1e}, {epoch.seconds:.1f} s"
    )
