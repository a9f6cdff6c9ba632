"""Benchmarks: ours against a named peer, interleaved in one process. Run by ``./dev bench``."""
