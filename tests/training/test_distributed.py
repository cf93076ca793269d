# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.distributed import World, any_process, average, average_gradients, broadcast_module, start, stop

ROOT = Path(__file__).parents[2]

# What each of two processes does; results go into the folder named by the argument.
PROCESS = """
import sys
from pathlib import Path
import torch
from training.distributed import any_process, average, average_gradients, broadcast_module, start, stop
from tests.training.test_distributed import patches, small_network

world = start("cpu")
result = {"rank": world.rank, "size": world.size, "seed": world.seed(7)}

# Gradients by hand: process r has r + 1 everywhere, the second parameter only in process 1, the third in none.
parameters = [torch.nn.Parameter(torch.zeros(2, 3)), *(torch.nn.Parameter(torch.zeros(2)) for _ in range(2))]
parameters[0].grad = torch.full((2, 3), world.rank + 1.0)
if world.rank == 1:
    parameters[1].grad = torch.tensor([4.0, 8.0])
average_gradients(parameters)
result["gradients"] = [parameter.grad for parameter in parameters]

torch.manual_seed(world.rank)
network = small_network()
broadcast_module(network)
result["weights"] = [tensor.clone() for tensor in network.state_dict().values()]

network(patches()[world.rank : world.rank + 1]).square().mean().backward()
average_gradients(network.parameters())
result["learned"] = [parameter.grad for parameter in network.parameters()]

result["average"] = average(torch.tensor([world.rank, 10.0]))
result["any"] = [any_process(world.rank == 1), any_process(False)]
torch.save(result, Path(sys.argv[1]) / f"{world.rank}.pt")
stop()
"""


def small_network():
    return torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.LeakyReLU(0.2), torch.nn.Conv3d(2, 1, 1)).to(
        memory_format=torch.channels_last_3d
    )


def patches():
    return torch.linspace(-1, 1, 2 * 5**3).sin().view(2, 1, 5, 5, 5)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    (folder / "process.py").write_text(PROCESS)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(folder / "process.py"), str(folder)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_torchrun_tells_each_process_who_it_is(two_processes):
    assert [(result["rank"], result["size"]) for result in two_processes] == [(0, 2), (1, 2)]
    assert two_processes[0]["seed"] == 7 != two_processes[1]["seed"]


def test_gradients_become_their_mean_over_the_processes(two_processes):
    for result in two_processes:
        first, second, third = result["gradients"]
        assert torch.equal(first, torch.full((2, 3), 1.5))
        assert second.tolist() == [2.0, 4.0]
        assert third is None


def test_every_process_gets_the_weights_of_the_first(two_processes):
    torch.manual_seed(0)
    expected = small_network().state_dict().values()
    for result in two_processes:
        assert all(torch.equal(got, want) for got, want in zip(result["weights"], expected, strict=True))


def test_two_processes_with_a_patch_each_learn_what_one_learns_from_both(two_processes):
    torch.manual_seed(0)
    network = small_network()
    network(patches()).square().mean().backward()
    for result in two_processes:
        for got, parameter in zip(result["learned"], network.parameters(), strict=True):
            assert torch.allclose(got, parameter.grad, rtol=1e-5, atol=1e-7)


def test_values_and_votes_are_shared(two_processes):
    for result in two_processes:
        assert result["average"].tolist() == [0.5, 10.0]
        assert result["any"] == [True, False]


def test_without_torchrun_nothing_happens(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    world = start("cpu")
    assert world == World(0, 1, torch.device("cpu"))
    assert world.seed(3) == 3
    network = small_network()
    before = [parameter.clone() for parameter in network.parameters()]
    broadcast_module(network)
    average_gradients(network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert average(torch.tensor([2.0])).item() == 2
    assert not any_process(False)
    stop()
