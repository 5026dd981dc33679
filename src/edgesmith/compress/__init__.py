"""Making trained PyTorch modules smaller: pruning, low rank, distillation, quantisation-aware training, search.

Every method takes a plain ``torch.nn.Module`` and gives one, or is a loss or callback for a training loop that the user
owns. Methods that need to know how fast a module is get that as a function (``roles.Latency``).
"""
