"""The ``finchaos`` command. Nothing imports it."""
