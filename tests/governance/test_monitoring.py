"""Records of monitoring, and whether bars go on from a run's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import DataError, IntegrityError
from governance.continuation import continuation
from governance.monitoring import MonitoringRecord, MonitorSettings, keep, records_of
from governance.monitoring_metrics import prometheus_text
from governance.record import InputRef
from governance.signoff.audit import audit_path, read_chain
from tests.governance.garch_market import garch_bars

BARS = garch_bars(1, 300)
OLD = BARS.rows(0, 200)


def record(**changes) -> MonitoringRecord:
    ref = InputRef(role="bars", name="SIM", digest="a" * 64)
    content = {
        "run": "b" * 64,
        "subject": "c" * 64,
        "candidate": "d" * 64,
        "reference": ref,
        "new": ref,
        "new_bars": 5,
        "first": "2020-01-02T21:00:00+00:00",
        "last": "2020-01-08T21:00:00+00:00",
        "settings": MonitorSettings(),
        "code": "e" * 64,
        "same_code": True,
        "distances": (),
        "tests": (),
        "test_level": None,
        "charts": (),
        "chart_run_length": None,
        "capital": (),
        "highest_capital": 1.0,
        "alarms": (),
        "not_measured": (),
        "verdict": "inconclusive",
    }
    return MonitoringRecord.model_validate({**content, **changes})


def test_a_record_is_kept_once_and_entered_into_the_chain_once(tmp_path):
    path = keep(tmp_path, record(), "2020-01-08T22:00:00+00:00")
    keep(tmp_path, record(), "2020-01-09T22:00:00+00:00")
    keep(tmp_path, record(new_bars=6), "2020-01-09T22:00:00+00:00")
    bodies = read_chain(tmp_path).of_run("monitor", "b" * 64)
    assert [body["record"] for body in bodies] == [record().digest, record(new_bars=6).digest]
    assert MonitoringRecord.from_json(path.read_bytes()) == record()
    assert len(records_of(tmp_path, "b" * 64)) == 2


def test_a_changed_record_is_found(tmp_path):
    path = keep(tmp_path, record(), "2020-01-08T22:00:00+00:00")
    path.write_bytes(path.read_bytes().replace(b"inconclusive", b"in_control"))
    with pytest.raises(IntegrityError, match="changed after it was sealed"):
        records_of(tmp_path, "b" * 64)


def test_nothing_is_written_beside_a_broken_chain(tmp_path):
    audit_path(tmp_path).write_bytes(b"{}\n")
    with pytest.raises(IntegrityError):
        keep(tmp_path, record(), "2020-01-08T22:00:00+00:00")
    assert not (tmp_path / "monitoring").exists()


def test_new_bars_alone_or_after_the_whole_history_are_the_same_continuation():
    alone, whole = continuation(OLD, BARS.rows(200)), continuation(OLD, BARS)
    assert alone.digest == whole.digest
    assert alone.index[0] == BARS.index[200]
    assert len(continuation(OLD, BARS.rows(190))) == 100


def _other_price():
    close = BARS.close.copy()
    close[150] *= 1.0001
    high = np.maximum(BARS.high, close)
    return BARS.with_values(close=close, high=high, low=np.minimum(BARS.low, close))


def _extra_bar():
    index = BARS.index.to_series().reset_index(drop=True)
    index[150] += pd.Timedelta(hours=1)
    from dataclasses import replace

    return replace(BARS, index=pd.DatetimeIndex(index))


@pytest.mark.parametrize(
    ("brought", "complaint"),
    [
        (OLD, "no new bar"),
        (BARS.rows(0, 50), "no new bar"),
        (_other_price(), "contradict"),
        (_extra_bar(), "contradict"),
        (BARS.rows(230), "bars are missing"),
    ],
)
def test_bars_that_do_not_go_on_are_refused(brought, complaint):
    with pytest.raises(DataError, match=complaint):
        continuation(OLD, brought)


def test_labels_are_escaped_and_every_line_has_the_format():
    text = prometheus_text(record(), 'a "model"\\ of\nmine')
    assert r'model="a \"model\"\\ of\nmine"' in text
    assert text.endswith("\n")
    lines = text.splitlines()
    assert all(line.startswith("#") or line.rsplit(" ", 1)[1] for line in lines)
