"""PyTorch, where it is installed, on one thread: the networks of these tests are small."""

import contextlib

with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)
