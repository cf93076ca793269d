"""Several processes that train one network, one per device, started by torchrun.

    torchrun --nproc-per-node 2 -m training train ...

Every process draws its own patches; gradients are averaged by hand, so that learners with several optimisers work like
those with one. Without torchrun every function here does nothing.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as group


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        rank: Its number, from 0. Only 0 writes files.
        size: How many there are.
        device: Where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def seed(self, base: int) -> int:
        """A seed of this process's own; the first one, and one that is alone, keeps `base`."""
        if self.first:
            return base
        return int(np.random.SeedSequence([base, self.rank]).generate_state(1, np.uint32)[0])


def start(device: str = "auto") -> World:
    """Join the processes that torchrun started, or be alone.

    Args:
        device: 'cpu', 'cuda' or a numbered one; 'auto' takes CUDA where there is one. Under torchrun 'cuda' means the
            device with the local rank's number.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    where = torch.device(kind)
    # torchrun sets all of these together; MASTER_ADDR and MASTER_PORT are read by torch itself.
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return World(0, 1, where)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(where)
    group.init_process_group("nccl" if where.type == "cuda" else "gloo", rank=rank, world_size=size)
    return World(rank, size, where)


def stop() -> None:
    """Leave the group; call it at the end of every process."""
    if _several():
        group.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes; call it before clipping.

    A parameter without a gradient counts as zero, and keeps having none if no process has one.

    Args:
        parameters: The same ones in the same order in every process.
    """
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    if not _several() or not learned:
        return
    device = learned[0].device
    present = torch.tensor([float(parameter.grad is not None) for parameter in learned], device=device)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
    # One message for all: many small ones would cost more than the backward pass of a small network.
    flat = average(torch.cat([present, *(gradient.float().flatten() for gradient in gradients)]))
    anywhere = (flat[: len(learned)] > 0).tolist()
    offset = len(learned)
    for parameter, has_gradient in zip(learned, anywhere, strict=True):
        if has_gradient:
            mean = flat[offset : offset + parameter.numel()].view_as(parameter).to(parameter.dtype)
            if parameter.grad is None:
                parameter.grad = mean.clone()
            else:
                parameter.grad.copy_(mean)
        offset += parameter.numel()


def average(values: Tensor) -> Tensor:
    """The mean over the processes of a float tensor that has the same shape in all of them; carries no gradient."""
    if not _several():
        return values
    total = values.detach().clone()
    group.all_reduce(total)  # a sum: gloo knows no mean
    return total / group.get_world_size()


def broadcast_module(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if not _several():
        return
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            # channels_last weights are not contiguous, and gloo sends the memory as it lies.
            sent = tensor.detach().contiguous()
            group.broadcast(sent, src=0)
            tensor.copy_(sent)


def any_process(flag: bool) -> bool:
    """Whether it is true in any process: a process that stops by its own clock would leave the others waiting."""
    if not _several():
        return flag
    device = "cuda" if group.get_backend() == "nccl" else "cpu"
    votes = torch.tensor([float(flag)], device=device)
    group.all_reduce(votes)
    return votes.item() > 0


def _several() -> bool:
    return bool(group.is_available() and group.is_initialized())
