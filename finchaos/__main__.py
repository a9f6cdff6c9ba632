"""``python -m finchaos``: the command, where its script is not on the path."""

from finchaos.cli.main import run

run()
