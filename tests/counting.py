"""Functions whose calls are counted."""


def count_calls(monkeypatch, owner, name, chosen=lambda *arguments: True):
    """Return a list that gets the arguments of every chosen call of a function."""
    calls, function = [], getattr(owner, name)

    def counted(*arguments, **options):
        if chosen(*arguments):
            calls.append(arguments)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls
