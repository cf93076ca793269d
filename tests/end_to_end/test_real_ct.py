"""A real abdominal CT with its clinical contours over HTTP; its daily CT is a synthetic deformation of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench.real_case import ABSENT, RealCase, load, mean_without_outline
from bench.real_ct import contour_bytes, identities, percent, send
from imaging.measures import measure_packed
from imaging.rasterize import rasterize
from recontour.client import Answer, Client
from tests.in_process import service_in_process
from tests.referees import dciodvfy_errors, needs_dciodvfy, needs_plastimatch, plastimatch_volumes_cc

pytestmark = pytest.mark.slow
KINDS = ("RECOMMENDED", "PROPAGATED")


@dataclass(frozen=True, eq=False)
class Exchange:
    case: RealCase
    client: Client
    answer: Answer
    affine_dice: dict[str, float]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with service_in_process() as url, Client(url) as connected:
        yield connected


on_the_hard_day = pytest.mark.parametrize("exchange", [True], ids=["hard day"], indirect=True)
"""Once is enough for the slow judges; `python -m bench.real_ct` asks them about both days."""


@pytest.fixture(scope="module", params=[False, True], ids=["day", "hard day"])
def exchange(request: pytest.FixtureRequest, client: Client) -> Exchange:
    case = load(hard=request.param)
    if case is None:
        pytest.skip(ABSENT)
    affine = send(client, case, options={"refine": "off"})
    affine_dice = case.dice_of(case.read_answer(affine.objects["PROPAGATED"]))
    return Exchange(case, client, send(client, case), affine_dice)


@pytest.mark.parametrize("kind", KINDS)
def test_all_13_rois_of_a_real_plan_come_back_with_number_name_and_colour(exchange: Exchange, kind: str) -> None:
    planned = identities(exchange.case.structures_file)
    assert len(planned) == 13
    assert identities(exchange.answer.objects[kind]) == planned
    assert all(contour_bytes(exchange.answer.objects[kind])[number] for number in planned)


@pytest.mark.parametrize("kind", KINDS)
def test_organs_of_a_real_ct_are_found_and_none_is_worse_than_after_the_affine(exchange: Exchange, kind: str) -> None:
    final = exchange.case.dice_of(exchange.case.read_answer(exchange.answer.objects[kind]))
    assert mean_without_outline(final) >= exchange.case.target.mean_dice
    for name, before in exchange.affine_dice.items():
        assert final[name] >= before - exchange.case.target.loss, name


@needs_dciodvfy
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error_in_the_answer_to_a_real_case(exchange: Exchange, kind: str) -> None:
    assert dciodvfy_errors(exchange.answer.objects[kind]) == []


@needs_plastimatch
@on_the_hard_day
def test_plastimatch_finds_the_volumes_of_the_answer_to_a_real_case(exchange: Exchange) -> None:
    case, content = exchange.case, exchange.answer.objects["RECOMMENDED"]
    theirs = plastimatch_volumes_cc(content, case.daily_files)
    masks = rasterize(case.read_answer(content), case.daily.volume.geometry)
    ours = {number: found.volume_cc for group in masks for number, found in measure_packed(group).items()}
    for number, name in case.names().items():
        assert abs(percent(theirs[name], ours[number])) <= 1.0, name


@on_the_hard_day
def test_scans_stored_feet_first_and_prone_give_the_same_contours(exchange: Exchange) -> None:
    turned = send(exchange.client, exchange.case, position="FFP")
    assert turned.objects.keys() == exchange.answer.objects.keys()
    for kind, content in exchange.answer.objects.items():
        assert contour_bytes(turned.objects[kind]) == contour_bytes(content), kind
