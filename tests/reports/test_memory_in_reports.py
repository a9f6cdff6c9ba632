"""A committee reads how far back the model looks, on the screen and on paper."""

from __future__ import annotations

import html
import io
from functools import cache

import pypdf
import pytest

from governance.checks.attribution import Attribution
from reports import render
from tests.planted.differentiable import DifferentiableRegime
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure
from tests.planted.remembering import Remembering
from tests.reports.sample import Sample, assemble

CHECK = Attribution(windows=20, compared_windows=20, length=24, steps=2, copies=1, memory_bars=48)


@cache
def measured(subject: DifferentiableRegime) -> Measured:
    return measure(CHECK, subject, context_of(regime_switching_bars(3, 700), folds=1))


def sealed(subject: DifferentiableRegime) -> Sample:
    found = measured(subject)
    return assemble([CHECK.card], list(found.evidence), list(found.exhibits))


def text_of(sample: Sample, medium: str) -> str:
    data = render(sample.run, sample.exhibits, medium)
    if medium == "html":
        return " ".join(html.unescape(data.decode()).split())
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.mark.parametrize("medium", ["html", "pdf"])
def test_the_sentence_stands_under_its_figure(medium: str) -> None:
    n = int(measured(Remembering()).value("effective_memory"))
    text = text_of(sealed(Remembering()), medium)
    assert f"90% of what moves the model's latents lies within the last {n} bars" in text
    assert "How far back the model looks" in text
    assert "How long the states of each layer can remember" in text
    for measure_shown in ("Effective memory", "Memory length", "Input lookback"):
        assert measure_shown in text


def test_a_model_that_does_not_say_is_reported_as_not_measured() -> None:
    text = text_of(sealed(DifferentiableRegime()), "html")
    assert "moves the model's latents" not in text
    assert "does not declare that it can say how far back it looks" in text
