"""The output of commands on a terminal of a given width."""

from lossarium.cli.main import main


def printed(command, capsys, monkeypatch, width=80) -> list[str]:
    """The lines that a command that succeeds prints."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(list(map(str, command))) == 0
    return capsys.readouterr().out.splitlines()
