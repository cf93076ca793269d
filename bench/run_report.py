"""The tables of `bench.run`, read off its JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.goals import MET, MISSED, Goal, goal_table
from bench.markdown import facts, table
from bench.requests import everything_but, median_stages
from service.latency import TOTAL, percentile
from service.visits import RECEIVE

NETWORK, REFINEMENT = "network", "refinement"
STANDARD = {"slices": 100, "in_plane": 512, "rois": 20}
VOXELS = 160**3
CLOCK = "from the last byte received to the first byte sent"

Content = Mapping[str, Any]


def as_markdown(content: Content) -> str:
    """The whole report."""
    case, settings = content["case"], content["settings"]
    region = settings["region"]
    network = "none" if settings["model"] == "none" else f"{settings['model']} on {content['provider']}"
    if region is not None and settings["model"] != "none":
        network += f", region {'x'.join(map(str, region))}"
    parts = [
        f"## One request: {case['what']}",
        f"Network: {network}. Body: {case['body_mib']:.0f} MiB over HTTP on loopback.",
        facts(content["machine"]),
        goal_table(goals_of(content)),
        stage_table(content),
        start_table(content),
        client_table(content),
        memory_lines(content),
    ]
    if "soak" in content:
        parts.append(soak_lines(content["soak"]))
    return "\n\n".join(parts)


def goals_of(content: Content) -> list[Goal]:
    """The goals that this run can judge; the others are there with the reason why not."""
    whole, staged = served(content["whole"]), served(content["staged"])
    why = _not_standard(content)
    cuda = "CUDA" in content["provider"]
    rest = [_rest(content[kind]) for kind in ("whole", "staged")]
    refinement = _median([one["stages_s"].get(REFINEMENT, 0.0) for one in content["whole"]])
    ready = _median([start["ready_s"] for start in content["starts"]])
    goals = [
        _goal("all but network and refinement, median", rest[0], 0.45, "s", why),
        _goal("the same with a staged plan", rest[1], 0.25, "s", why),
        _goal("refinement, median", refinement, 0.5, "s", why),
        _goal("cold start to ready, median", ready, 10.0, "s", ""),
    ]
    no_network = why or _no_network(content)
    peak = content["memory_mib"]["after the staged plan"] / 1024
    if not cuda:
        bf16 = "" if "bf16" in content["provider"] else "not on OpenVINO bf16"
        goals.append(_goal("whole request, median", percentile(whole, 50), 2.3, "s", no_network or bf16))
        goals.append(_goal("peak memory, requests one after another", peak, 2.5, "GiB", no_network))
    no_gpu = no_network or ("" if cuda else "no CUDA here")
    network = _median([one["stages_s"].get(NETWORK, 0.0) for one in content["whole"]])
    at_once = [one for one in content["clients"] if one["clients"] == 4 and one["kind"] == "whole" and one["wall_s"]]
    slowest = max((max(one["served_s"]) for one in at_once), default=None)
    return [
        *goals,
        _goal("with a GPU: refinement, median", 1000 * refinement, 60, "ms", no_gpu),
        _goal("with a GPU: whole request, p50", percentile(whole, 50), 0.5, "s", no_gpu),
        _goal("with a GPU: whole request, p95", percentile(whole, 95), 0.75, "s", no_gpu),
        _goal("with a GPU: staged plan, p50", percentile(staged, 50), 0.3, "s", no_gpu),
        _goal("with a GPU: network with its copies, median", 1000 * network, 30, "ms", no_gpu),
        _goal("with a GPU: 4 requests at once, the slowest", slowest, 1.0, "s", no_gpu),
    ]


def served(requests: Sequence[Content]) -> list[float]:
    """The service's clock from the last byte received, ascending."""
    return sorted(one["stages_s"][TOTAL] - one["stages_s"].get(RECEIVE, 0.0) for one in requests)


def stage_table(content: Content) -> str:
    """Median milliseconds per stage of warm requests, whole and with a staged plan, and both clocks."""
    kinds = [content[kind] for kind in ("whole", "staged")]
    medians = [median_stages([one["stages_s"] for one in requests]) for requests in kinds]
    names = list(dict.fromkeys(name for median in medians for name in median))
    names = [*(name for name in names if name != TOTAL), TOTAL]
    rows: list[Sequence[str | float | None]] = []
    for name in names:
        rows.append((f"`{name}`", *(1000 * median[name] if name in median else None for median in medians)))
    rows.append((f"**service, {CLOCK}**, p50", *(1000 * percentile(served(kind), 50) for kind in kinds)))
    rows.append(("the same, p95", *(1000 * percentile(served(kind), 95) for kind in kinds)))
    for label, key in (("client, last byte handed over to first byte back", "answer_s"), ("client, whole", "wall_s")):
        for percent in (50, 95):
            values = [1000 * percentile(sorted(one[key] for one in kind), percent) for kind in kinds]
            rows.append((f"{label}, p{percent}", *values))
    rows.append(("processor time of the service, median", *(1000 * _median([o["cpu_s"] for o in k]) for k in kinds)))
    answers = "yes" if content["identical"] else "NO"
    note = (
        f"Milliseconds, medians of {len(kinds[0])} warm requests one after another. Stages that run beside each other "
        f"each count their own time. Identical bytes in all answers: {answers}."
    )
    return f"{table(('stage', 'whole request', 'staged plan'), rows)}\n\n{note}"


def stage_bars(content: Content) -> dict[str, dict[str, float]]:
    """Milliseconds per stage for the picture."""
    found = {}
    for label, kind in (("whole request", "whole"), ("staged plan", "staged")):
        stages = median_stages([one["stages_s"] for one in content[kind]])
        found[label] = {name: 1000 * seconds for name, seconds in stages.items() if name != TOTAL}
    return found


def start_table(content: Content) -> str:
    """Cold starts and their first requests."""
    starts = content["starts"]
    rows = [
        ("start of the process to ready", *(start["ready_s"] for start in starts)),
        ("first request after that, at the client", *(start["first_s"] for start in starts)),
    ]
    heads = ("seconds, after the installation has compiled", *(f"start {n + 1}" for n in range(len(starts))))
    return table(heads, rows, digits=2)


def client_table(content: Content) -> str:
    """Many clients at once."""
    rows = []
    for one in content["clients"]:
        walls, served_s = sorted(one["wall_s"]), sorted(one["served_s"])
        values = [percentile(walls, 50), percentile(walls, 95), percentile(served_s, 50), percentile(served_s, 95)]
        what = "whole" if one["kind"] == "whole" else "staged plan"
        numbers = [f"{value:.2f}" for value in values] if walls else ["-"] * 4
        counts = [str(len(walls)), str(one["refused"]), str(one["failed"])]
        rows.append((what, str(one["clients"]), *numbers, *counts))
    heads = (
        "request",
        "at once",
        "client p50 s",
        "client p95 s",
        "service p50 s",
        "service p95 s",
        "answered",
        "refused",
        "failed",
    )
    note = (
        "All begin at the same moment; one case is at work at a time, so the last one waits for all others. "
        "The service's clock runs from the last byte of each request. Refused: 429, the house is full."
    )
    return f"{table(heads, rows)}\n\n{note}"


def memory_lines(content: Content) -> str:
    """Peak memory of the service's process, and of the device."""
    rows = [(when, mib) for when, mib in content["memory_mib"].items()]
    text = table(("peak memory of the service so far", "MiB"), rows)
    device = content["device_mib"]
    return text if device is None else f"{text}\n\nIn use on the device (all processes): {device:.0f} MiB."


def soak_lines(soak: Content) -> str:
    """Many small requests in a row."""
    verdict = MET if soak["answers"] == 1 and soak["growth_mib"] <= soak["growth_limit_mib"] else MISSED
    return (
        f"{soak['requests']} small requests in a row: memory grew by {soak['growth_mib']:.1f} MiB after the first "
        f"ones, peak {soak['peak_mib']:.0f} MiB, different answers: {soak['answers']}: {verdict}\n\n"
        f"```\n{soak['table']}\n```"
    )


def _rest(requests: Sequence[Content]) -> float:
    return _median([everything_but(one["stages_s"], NETWORK, REFINEMENT) for one in requests])


def _not_standard(content: Content) -> str:
    case = content["case"]
    return "" if all(case[key] == value for key, value in STANDARD.items()) else "another case than the standard one"


def _no_network(content: Content) -> str:
    size = content["settings"]["region"]
    if content["settings"]["model"] == "none":
        return "no network"
    if size is None or size[0] * size[1] * size[2] != VOXELS:
        return "another region than 160^3"
    return ""


def _goal(what: str, value: float | None, limit: float, unit: str, why_open: str) -> Goal:
    return Goal(what, None if why_open else value, limit, unit, why_open=why_open)


def _median(values: Sequence[float]) -> float:
    return percentile(sorted(values), 50)
