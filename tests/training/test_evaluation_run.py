import functools
import json
import math

import pytest

from training.evaluation.run import Protocol, evaluate, outlines_file, slug

from .evaluated import BLADDER, ORGANS, RECTUM, Fixed, held_out

PROTOCOL = Protocol(ORGANS, dataset="one")
NAMES = ("0000000a-1", "0000000a-2", "0000000b-1")


class Reader:
    """The cases, counting how often one is read."""

    def __init__(self) -> None:
        self.read = 0

    def cases(self, names=NAMES):
        return {name: functools.partial(self._case, name) for name in names}

    def _case(self, name):
        self.read += 1
        return held_out(name)


def systems():
    return [Fixed("whole", {1: BLADDER, 2: RECTUM}), Fixed("half", {1: BLADDER})]


def run(chosen, reader, out, protocol=PROTOCOL, names=NAMES):
    return evaluate(chosen, reader.cases(names), out, protocol, progress=False)


def test_scores_come_by_system_and_case_and_every_case_is_read_once(tmp_path):
    reader = Reader()
    scores = run(systems(), reader, tmp_path)
    assert [(score.system, score.case) for score in scores] == [(s, n) for s in ("whole", "half") for n in NAMES]
    assert reader.read == 3
    assert [row.missing for row in scores[-1].organs] == [False, True]
    assert (tmp_path / "scores" / "half" / f"{NAMES[2]}.json").is_file()
    assert outlines_file(tmp_path, "half", NAMES[2]).is_file()


def test_what_is_there_is_not_done_again(tmp_path):
    first = run(systems(), Reader(), tmp_path, names=NAMES[:2])
    reader, chosen = Reader(), systems()
    scores = run(chosen, reader, tmp_path)
    assert reader.read == 1
    assert [system.asked for system in chosen] == [2, 2]  # once to warm up
    assert set(first) < set(scores)


def test_a_changed_system_is_measured_anew(tmp_path):
    run(systems(), Reader(), tmp_path)
    chosen = systems()
    chosen[1].identity = "2"
    run(chosen, Reader(), tmp_path)
    assert [system.asked for system in chosen] == [0, 4]


@pytest.mark.parametrize("changed", [Protocol(ORGANS, dataset="two"), Protocol(ORGANS, dataset="one", tolerance_mm=1)])
def test_another_dataset_or_measure_is_measured_anew(tmp_path, changed):
    run(systems(), Reader(), tmp_path)
    chosen = systems()
    run(chosen, Reader(), tmp_path, protocol=changed)
    assert [system.asked for system in chosen] == [4, 4]


def test_a_damaged_file_is_measured_anew(tmp_path):
    run(systems(), Reader(), tmp_path)
    file = tmp_path / "scores" / "half" / f"{NAMES[1]}.json"
    file.write_text(file.read_text()[:100])
    chosen = systems()
    run(chosen, Reader(), tmp_path)
    assert [system.asked for system in chosen] == [0, 2]
    assert json.loads(file.read_text())["case"] == NAMES[1]


def test_two_systems_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="same name"):
        run([Fixed("A b", {}), Fixed("a-B", {})], Reader(), tmp_path)


def test_names_become_names_of_files():
    assert slug("Cross-stitch (b), 1 mm") == "cross-stitch-b-1-mm"


class Failing(Fixed):
    """Cannot do the second case."""

    def contour(self, case):
        contoured = super().contour(case)
        if case.name == NAMES[1]:
            raise RuntimeError("what is in the scan")
        return contoured


def test_a_system_that_fails_on_one_case_has_everything_missing_there_and_goes_on(tmp_path):
    scores = run([Failing("frail", {1: BLADDER, 2: RECTUM})], Reader(), tmp_path)
    assert [score.error for score in scores] == ["", "RuntimeError", ""]
    assert [[row.missing for row in score.organs] for score in scores] == [[False] * 2, [True] * 2, [False] * 2]
    assert math.isnan(scores[1].seconds)
    stored = (tmp_path / "scores" / "frail" / f"{NAMES[1]}.json").read_text()
    assert "what is in the scan" not in stored
    again = Failing("frail", {})
    assert [score.error for score in run([again], Reader(), tmp_path)] == ["", "RuntimeError", ""]
    assert again.asked == 0


def test_every_system_is_limited_to_the_same_threads_and_what_was_before_comes_back(tmp_path):
    numba = pytest.importorskip("numba")

    class Counting(Fixed):
        seen = 0

        def contour(self, case):
            self.seen = numba.get_num_threads()
            return super().contour(case)

    before, system = numba.get_num_threads(), Counting("s", {})
    scores = run([system], Reader(), tmp_path)
    assert system.seen == 1
    assert [score.threads for score in scores] == [1, 1, 1]
    assert numba.get_num_threads() == before


def test_a_system_that_says_so_is_timed_without_a_case_for_nothing(tmp_path):
    system = Fixed("registration of minutes", {})
    system.starts_slowly = False
    run([system], Reader(), tmp_path)
    assert system.asked == 3
