"""ConvexAdam on one pair: `python peer_convexadam.py PAIR.npz FIELD.npy THREADS`, in any environment that has it.

Imports nothing of recontour.
"""

import sys

import numpy as np
import torch
from convexAdam.convex_adam_MIND import convex_adam_pt


def main() -> None:
    pair_file, field_file, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with np.load(pair_file) as pair:
        images = [torch.from_numpy(pair[name]).float() for name in ("fixed", "moving")]
    # fp16, the package's default, is for GPUs alone.
    np.save(field_file, convex_adam_pt(*images, dtype=torch.float32, device=torch.device("cpu")).astype(np.float32))


if __name__ == "__main__":
    main()
