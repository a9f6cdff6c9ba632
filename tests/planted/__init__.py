"""Simulated markets and subjects of known quality: the references every check is tested on."""
