import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from finchaos.core.errors import IntegrityError
from governance.record import Evidence, Exhibit, Run, SignOff, run_schema
from tests.governance.evidence import EXHIBIT, evidence, small_run

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3))
def test_evidence_survives_json_to_the_last_bit(value, where):
    item = evidence(value).model_copy(update={"slice": where})
    back = Evidence.from_json(item.to_json())
    assert back == item
    assert back.value == value
    assert back.digest == item.digest


def test_a_run_survives_json_and_fits_its_published_schema():
    run = small_run()
    assert Run.from_json(run.to_json()) == run
    jsonschema.validate(run.model_dump(mode="json"), run_schema())


def test_any_change_changes_the_digest():
    assert small_run(seed=7).digest == small_run(seed=7).digest
    assert small_run(seed=7).digest != small_run(seed=8).digest


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ValidationError):
        evidence(value)


def test_unmeasured_evidence_must_give_a_reason_and_no_value():
    raw = evidence(None).model_dump()
    with pytest.raises(ValidationError, match="gives a reason"):
        Evidence(**{**raw, "reason": ""})
    with pytest.raises(ValidationError, match="has no value"):
        Evidence(**{**raw, "value": 1.0})


def test_the_key_ignores_the_value_but_not_the_question():
    assert evidence(0.1).key == evidence(0.2).key
    assert evidence(0.1).key != evidence(0.1, fold="1").key


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"a":1,"a":1}', b"[1]"])
def test_garbage_is_an_integrity_error(data):
    with pytest.raises(IntegrityError):
        Run.from_json(data)


def test_an_exhibit_is_rectangular():
    raw = EXHIBIT.model_dump()
    raw["columns"][0]["values"] = (1.0,)
    with pytest.raises(ValidationError, match="same length"):
        Exhibit(**raw)


def test_an_approval_with_conditions_states_them():
    fields = {
        "run": "0" * 64,
        "role": "approver",
        "person": "P",
        "decision": "approve_with_conditions",
        "manifest": {},
        "certificate": "",
        "trust": "demo",
        "at": "2026-01-01T00:00:00Z",
        "previous": None,
    }
    with pytest.raises(ValidationError, match="must state"):
        SignOff(**fields)
    assert SignOff(**fields, conditions="half size").conditions
