from __future__ import annotations

import pytest

from finchaos.core.errors import DataError, DocumentError
from governance.reconstruction import Reconstruction, parse_facts, point_prices, seconds
from governance.scenario import load_scenario

SCENARIO = load_scenario("flash_crash_2010_minutes")
SPEC = SCENARIO.reconstruction


def test_returns_between_anchors_are_the_documented_ones():
    price = point_prices(SPEC, SCENARIO.facts, SCENARIO.prior_close)
    at = {clock: price[seconds(clock)] for clock in ("14:41:00", "14:44:59", "14:45:13")}
    assert at["14:44:59"] / at["14:41:00"] - 1.0 == pytest.approx(-0.03)
    assert 1056.0 / at["14:41:00"] - 1.0 == pytest.approx(-0.05)
    assert 1056.0 / at["14:45:13"] - 1.0 == pytest.approx(-0.017)
    assert price[seconds("14:45:27")] - 1056.0 == pytest.approx(12.75)
    assert list(price.values()) != sorted(price.values())


def test_facts_that_were_not_read_in_their_source_cannot_be_anchors():
    raw = SPEC.model_dump()
    key = {"time_et": "14:30:00", "instrument": "SPY", "quantity": "buy_depth"}
    raw["points"][1]["fact"] = key
    with pytest.raises(DataError, match=r"may not be used.*recalled"):
        point_prices(Reconstruction.model_validate(raw), SCENARIO.facts, 1165.87)
    raw["points"][1]["fact"] = {**key, "quantity": "hearsay"}
    with pytest.raises(DataError, match="exactly one row"):
        point_prices(Reconstruction.model_validate(raw), SCENARIO.facts, 1165.87)


def test_used_facts_were_all_read_in_their_source():
    assert all(SCENARIO.facts.row(key)["status"] == "seen" for key in SPEC.fact_keys)
    assert any(line["status"] == "recalled" for line in SCENARIO.facts.rows)


def test_a_negative_price_and_a_forward_reference_are_refused():
    text = "time_et,instrument,quantity,value,unit,source,status\n" + "\n".join(
        ["09:30:00,S&P 500,open,-5,points,s,seen"]
    )
    with pytest.raises(DataError, match="not positive"):
        point_prices(SPEC, parse_facts(text, "f"), 1165.87)
    raw = SPEC.model_dump()
    raw["points"] = (raw["points"][0], raw["points"][3], raw["points"][2], *raw["points"][4:])
    with pytest.raises(DocumentError, match="listed before"):
        point_prices(Reconstruction.model_validate(raw), SCENARIO.facts, 1165.87)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "not a file of facts"),
        (
            "time_et,instrument,quantity,value,unit,source,status\n09:30:00,X,open,1,u,,seen\n",
            "source and status",
        ),
    ],
)
def test_malformed_facts_are_refused(text, says):
    with pytest.raises(DataError, match=says):
        parse_facts(text, "facts.csv")


def _set(raw, *path, value):
    for step in path[:-1]:
        raw = raw[step]
    raw[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("seeds",), (1, 1), "distinct"),
        (("seeds",), (1,), "at least 2"),
        (("session",), ("09:30:00", "16:00:30"), "whole number of minutes"),
        (("points", 1, "at"), "09:30:00", "one point a second"),
        (("points", 1, "at"), "08:30:00", "lies in the session"),
        (("points", 1, "at"), "8:30", "pattern"),
        (("points", 1, "relative_to"), "prior_close", "level has no relative_to"),
        (("volatility", 0, "until"), "15:59:00", "follow each other"),
        (("volume", 0, "spans"), (("09:30:00", "14:00:00"),), "exactly once"),
        (("volume", 1, "spans"), (("14:00:30", "14:30:00"),), "whole minutes"),
    ],
)
def test_reconstructions_that_do_not_fit_together_are_refused(path, value, says):
    raw = SPEC.model_dump()
    for name in ("points", "volatility", "volume"):
        raw[name] = list(raw[name])
    _set(raw, *path, value=value)
    with pytest.raises(ValueError, match=says):
        Reconstruction.model_validate(raw)
