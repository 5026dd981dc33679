"""Training: labelled pictures in memory, and a loop with checkpoints into which losses and callbacks plug."""

from edgesmith.compress.training.augment import Augmentation, Erase, Flip, Shift
from edgesmith.compress.training.batches import Batch, Batches, Data
from edgesmith.compress.training.callbacks import BatchLoss, Callback, Loss, RunState, cross_entropy
from edgesmith.compress.training.data import Normalisation, Pictures
from edgesmith.compress.training.devices import usable
from edgesmith.compress.training.ema import Ema
from edgesmith.compress.training.evaluate import answer, evaluate
from edgesmith.compress.training.history import Epoch, History
from edgesmith.compress.training.loop import fit
from edgesmith.compress.training.seeds import seed_everything
from edgesmith.compress.training.settings import Settings
from edgesmith.compress.training.sources import read_arrays, read_folder, read_idx

__all__ = [
    "Augmentation",
    "Batch",
    "BatchLoss",
    "Batches",
    "Callback",
    "Data",
    "Ema",
    "Epoch",
    "Erase",
    "Flip",
    "History",
    "Loss",
    "Normalisation",
    "Pictures",
    "RunState",
    "Settings",
    "Shift",
    "answer",
    "cross_entropy",
    "evaluate",
    "fit",
    "read_arrays",
    "read_folder",
    "read_idx",
    "seed_everything",
    "usable",
]
