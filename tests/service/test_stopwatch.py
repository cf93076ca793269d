"""Stage times are read by the request while the worker still writes them."""

import threading

import pytest

from imaging.timing import Stopwatch


def test_what_was_read_does_not_change_when_the_work_goes_on():
    stopwatch = Stopwatch()
    stopwatch.record("queue", 0.25)
    read = stopwatch.seconds
    with stopwatch.stage("affine"):
        pass
    assert read == {"queue": 0.25}
    assert list(stopwatch.seconds) == ["queue", "affine"]


def test_a_request_that_was_given_up_reads_its_stages_while_its_work_adds_new_ones():
    stopwatch = Stopwatch()

    def work() -> None:
        for number in range(3_000):
            with stopwatch.stage(f"stage {number}"):
                pass

    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        assert all(seconds >= 0 for seconds in stopwatch.seconds.values())
    assert len(stopwatch.seconds) == 3_000


def test_the_times_of_a_stage_that_runs_twice_are_added_and_one_that_raises_is_kept():
    stopwatch = Stopwatch()
    stopwatch.record("parse", 2.0)
    with pytest.raises(ValueError, match="cut off"), stopwatch.stage("parse"):
        raise ValueError("cut off")
    assert stopwatch.seconds["parse"] >= 2.0
