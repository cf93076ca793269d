import pytest

from bench.requests import Request
from bench.versus import report


def served(total_s: float, *, status: int = 200) -> Request:
    return Request(status, total_s, total_s, {"receive": 0.5, "network": 1.0, "refinement": 0.25, "total": total_s})


def test_what_slows_both_services_for_a_while_does_not_change_the_ratio() -> None:
    pairs = [(served(2.4), served(2.0)), (served(2.4), served(2.0)), (served(4.8), served(4.0))]
    rows = report(pairs).splitlines()
    assert "| `total` | 2400 | 2000 | 1.20 |" in rows
    # Without receiving: 1.9 over 1.5 s in two of three pairs.
    assert "| `served` | 1900 | 1500 | 1.27 |" in rows
    assert "| `all but network and refinement` | 650 | 250 | 2.60 |" in rows


def test_a_refused_request_is_no_measurement() -> None:
    with pytest.raises(SystemExit, match="429"):
        report([(served(2.0), served(2.0, status=429))])
