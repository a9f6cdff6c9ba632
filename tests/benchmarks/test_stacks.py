from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks import inference, stacks, training
from benchmarks.peers import MAMBA_64, MAMBA_128, PEERS, Shape, transformers
from benchmarks.report import Report
from benchmarks.stacks import Case, Group, cases
from tests.benchmarks.small import MAMBA, MAMBA2, ONCE

OTHERS = ("loop", "fallback", "lstm", "transformer")
CASES = (
    Case(MAMBA, 2, 9, ("mambapy", "mambapy_loop", "transformers", *OTHERS)),
    Case(MAMBA2, 2, 9, ("transformers", "transformers_64", *OTHERS)),
)


@pytest.mark.parametrize("module", [training, inference])
def test_every_peer_runs_and_the_same_models_agree(module) -> None:
    report: Report = module.run(ONCE, CASES)
    (table,) = report.tables
    assert len(table.rows) == 13
    assert all(isinstance(ratio, float) and ratio > 0 for ratio in table.column("peer / ours"))
    deviations = dict(zip(table.column("peer"), table.column("output deviation"), strict=True))
    for peer in PEERS.values():
        deviation = deviations[peer.name]
        assert deviation < 1e-6 if peer.same_model else deviation is None
    gradients = [g for g in table.column("gradient deviation") if g is not None]
    assert len(gradients) == (9 if module is training else 0)
    assert all(gradient < 1e-5 for gradient in gradients)


@pytest.mark.parametrize("name", ["layers.0.mixer.out_proj.weight", "layers.1.mixer.A_log"])
def test_a_peer_that_computes_something_else_is_not_timed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(shape: Shape, weights) -> torch.nn.Module:
        return transformers(shape, {**weights, name: 1.05 * weights[name]})

    monkeypatch.setitem(PEERS, "mambapy", replace(PEERS["mambapy"], build=altered))
    with pytest.raises(RuntimeError, match=r"disagree.*nothing was timed"):
        stacks.measure(Case(MAMBA, 2, 9, ("mambapy",)), ONCE, backward=True)


def test_batches_shrink_with_length_and_width_and_groups_end() -> None:
    groups = {"mamba": (Group(("mambapy",), 4096, 8192), Group(("transformers",), 256, 128))}
    found = cases((MAMBA_64, MAMBA_128), (64, 128, 8192), groups)
    assert [(c.shape.d_model, c.steps, c.batch, c.peers[0]) for c in found] == [
        (64, 64, 32, "mambapy"),
        (64, 64, 4, "transformers"),
        (64, 128, 32, "mambapy"),
        (64, 128, 2, "transformers"),
        (64, 8192, 1, "mambapy"),
        (128, 64, 32, "mambapy"),
        (128, 64, 2, "transformers"),
        (128, 128, 16, "mambapy"),
        (128, 128, 1, "transformers"),
        (128, 8192, 1, "mambapy"),
    ]


def test_declared_cases_name_known_peers() -> None:
    for case in training.CASES + inference.CASES:
        assert set(case.peers) <= set(PEERS)
        assert case.shape.family == "mamba" or "mambapy" not in case.peers
