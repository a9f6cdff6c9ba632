"""Schemas are pinned: a published one never changes its numbers."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from finchaos.core.errors import DocumentError, UnknownNameError
from finchaos.features import load_schema, schema_names
from finchaos.features.schema import FORMULAS, FeatureSchema, FeatureSpec

PUBLISHED = {
    "manifold_v1": "ca2133142a2b3f7c166705ee2c59609a21182153dfcbdaa0f74f3aef5ce77bbc",
    "microstructure_v1": "b49a77e714e7523c0f87bd1d47664d7a7d3db5dab9e1cd2710ec40803013493f",
    "fractal_v1": "588fe402da29fbf0951edc580d3a8a1d97227441db93071c11ed0441062d6cf1",
    "regime_close_v1": "67c794efcf1c47a10230113007059e6dd4cdc120d284971b42e752d50bec5f53",
    "regime_v1": "c89e768c413428f6652217084e780431dc41ec1c843083aed4cde51f2ede8626",
    "technical_v1": "07a55b3238be7128a2e73c164c52962352b86d6fcda20ba17f646c926a5f7cc4",
}
"""Never edit a digest here: publish another schema instead."""

HALF_LIFE = sorted(
    name
    for name, kind in FORMULAS.items()
    for parameter in inspect.signature(kind).parameters.values()
    if parameter.name == "half_life" and parameter.default is parameter.empty
)
"""Formulas that cannot do without a half-life."""


def test_published_schemas_have_not_changed() -> None:
    assert {name: load_schema(name).digest for name in schema_names()} == PUBLISHED


def test_names_order_and_lookbacks() -> None:
    schema = load_schema("regime_v1")
    assert schema.names[0] == "log_return"
    assert len(schema.names) == len(schema.lookbacks) == len(schema.bounded) == 11
    assert schema.lookback == 240
    assert schema.needs_range
    assert not load_schema("regime_close_v1").needs_range
    assert [n for n, b in zip(schema.names, schema.bounded, strict=True) if b] == [
        "momentum_fast",
        "momentum_slow",
    ]


@pytest.mark.parametrize(
    "specs",
    [
        (("a", "log_return", {}), ("b", "absolute_return", {})),
        (("b", "absolute_return", {}), ("a", "log_return", {})),
        (("a", "log_return", {}), ("c", "absolute_return", {})),
        (("a", "log_volatility", {"half_life": 5.0}),),
        (("a", "log_volatility", {"half_life": 6.0}),),
    ],
)
def test_digest_tells_names_order_and_parameters_apart(
    specs: tuple[tuple[str, str, dict[str, float]], ...],
) -> None:
    def digest(rows: tuple[tuple[str, str, dict[str, float]], ...]) -> str:
        made = tuple(FeatureSpec(name=n, formula=f, params=p) for n, f, p in rows)
        return FeatureSchema("x", made).digest

    others = {
        digest((("a", "log_return", {}), ("b", "log_return", {}))),
        digest((("a", "log_volatility", {"half_life": 7.0}),)),
    }
    assert digest(specs) not in others
    assert digest(specs) == digest(specs)


def test_order_alone_changes_the_digest() -> None:
    specs = tuple(FeatureSpec(name=n, formula=n) for n in ("log_return", "absolute_return"))
    assert FeatureSchema("x", specs).digest != FeatureSchema("x", specs[::-1]).digest


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="regime_v1"):
        load_schema("regime_v9")
    with pytest.raises(UnknownNameError, match=r"no formula 'hurst'.*log_return"):
        FeatureSchema("x", (FeatureSpec(name="h", formula="hurst"),))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "half_life"),
        ({"half_life": 5.0, "window": 3.0}, "window"),
        ({"half_life": 0.0}, "positive"),
        ({"half_life": -1.0}, "positive"),
    ],
)
@pytest.mark.parametrize("formula", HALF_LIFE)
def test_wrong_parameters_are_refused(formula: str, params: dict[str, float], message: str) -> None:
    if formula == "log_volatility_of_volatility" and params:
        params = {"level_half_life": 5.0, **params}
    if formula == "takens_price" and params:
        params = {"dimension": 2.0, "lag": 1.0, "coordinate": 0.0, **params}
    with pytest.raises(DocumentError, match=message):
        FeatureSchema("x", (FeatureSpec(name="f", formula=formula, params=params),))


def test_a_feature_named_twice_and_an_empty_schema_are_refused() -> None:
    spec = FeatureSpec(name="a", formula="log_return")
    with pytest.raises(DocumentError, match="twice"):
        FeatureSchema("x", (spec, spec))
    with pytest.raises(DocumentError, match="no features"):
        FeatureSchema("x", ())


def test_a_schema_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nabout: test\nfeatures:\n  - {name: r, formula: log_return}\n", "utf-8"
    )
    assert load_schema(path).names == ("r",)
    path.write_text("name: mine\nabout: test\nfeatures: []\nextra: 1\n", "utf-8")
    with pytest.raises(DocumentError, match="extra"):
        load_schema(path)
