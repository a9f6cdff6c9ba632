"""Backends are asked for by name; only ``auto`` chooses, and says what and why."""

from __future__ import annotations

import pytest

from finchaos.core.errors import MissingDependencyError, UnknownNameError
from finchaos.ssm import available_backends, backends, choose_backend, cuda, native


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="auto, reference, torch, cpu, cuda"):
        choose_backend("avx")


@pytest.mark.parametrize(("name", "home"), [("cpu", native), ("cuda", cuda)])
def test_a_named_backend_that_is_absent_raises_and_says_why(
    monkeypatch: pytest.MonkeyPatch, name: str, home: object
) -> None:
    monkeypatch.setattr(home, "absence", lambda: "no compiler was found")
    with pytest.raises(MissingDependencyError, match="no compiler was found"):
        choose_backend(name)
    assert name not in available_backends()


def test_auto_picks_the_kernels_and_without_them_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "absence", lambda: None)
    assert choose_backend("auto").name == "cpu"
    monkeypatch.setattr(native, "absence", lambda: "for this test only")
    backends._notify.cache_clear()
    with pytest.warns(backends.BackendNotice, match="for this test only") as seen:
        choice, _ = choose_backend("auto"), choose_backend("auto")
    assert (choice.name, choice.reason) == ("torch", "for this test only")
    assert len(seen) == 1


def test_auto_on_a_device_without_kernels_is_plain_pytorch() -> None:
    assert choose_backend("auto", "meta").name == "torch"
