"""Making trained PyTorch modules smaller: pruning, low rank, distillation, quantisation-aware training, search.

Every method takes a plain ``torch.nn.Module`` and gives one, or is a loss or callback for a training loop that the user
owns. Methods that need to know how fast a module is get that as a function (``roles.Latency``).
"""

from edgesmith.errors import MissingDependency

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingDependency(
        "PyTorch is not installed", where="edgesmith.compress", hint="install it: pip install edgesmith[train]"
    ) from error
