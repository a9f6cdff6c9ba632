import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.provenance import (
    array_digest,
    canonical_json,
    digest,
    parse_json,
    random_stream,
    sha256,
    stream_seed,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_reads_back_to_an_equal_value(value):
    assert parse_json(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(-1000, 1000), min_size=2))
def test_the_order_of_keys_never_matters(value):
    assert digest(value) == digest(dict(reversed(value.items())))


def test_canonical_json_matches_the_published_example():
    # RFC 8785, section 3.2.2: input and output of the number and string example.
    source = json.loads(
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/",'
        '"literals": [null, true, false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(source).decode() == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60, {1: 2}, object()])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError):
        canonical_json({"x": value})


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": Infinity}', "{"])
def test_ambiguous_json_is_refused(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_array_digest_sees_name_type_shape_and_value():
    base = np.arange(6, dtype=np.float64)
    digests = {
        array_digest({"a": base}),
        array_digest({"b": base}),
        array_digest({"a": base.astype(np.float32)}),
        array_digest({"a": base.reshape(2, 3)}),
        array_digest({"a": base + 1e-12}),
    }
    assert len(digests) == 5
    assert array_digest({"a": base}) == array_digest({"a": base.astype(">f8")})


def test_streams_are_independent_and_repeatable():
    one = random_stream(3, "one").standard_normal(20_000)
    again = random_stream(3, "one").standard_normal(20_000)
    two = random_stream(3, "two").standard_normal(20_000)
    assert np.array_equal(one, again)
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(20_000)
    assert stream_seed(3, "one") == stream_seed(3, "one") != stream_seed(4, "one")


def test_sha256_known_answer():
    # FIPS 180-2, appendix B.1
    assert sha256(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223")
