"""Uses an installed wheel, in an environment without Edgesmith: use_wheel.py MODULE FEEDS.npz RESULTS."""

import importlib
import os
import sys
import threading
from pathlib import Path

import numpy as np

sys.modules["edgesmith"] = None  # importing it is an error


def raised(error, function, *arguments, **named):
    """The message of an error that a call must raise."""
    try:
        function(*arguments, **named)
    except error as caught:
        return str(caught)
    raise AssertionError(f"{error} was not raised")


package = importlib.import_module(sys.argv[1])
feeds = dict(np.load(sys.argv[2]))
model = package.Model()
assert model.threads == 2 and package.__version__ == "2.3.1"
assert list(model.inputs) == list(feeds)
assert all(model.inputs[n] == package.Tensor(a.shape, a.dtype) for n, a in feeds.items())

outputs = model.run(**feeds)
assert list(outputs) == list(model.outputs)
Path(sys.argv[3]).write_bytes(b"".join(a.tobytes() for a in outputs.values()))
again = model(*feeds.values())
assert all(a.tobytes() == b.tobytes() for a, b in zip(outputs.values(), again, strict=True))
strided = dict(feeds, steps=np.repeat(feeds["steps"], 2, axis=1)[:, ::2])
assert model.run(**strided)["top"] == outputs["top"]

assert "missing input 'class'" in raised(TypeError, model.run)
assert "unknown input 'x'" in raised(TypeError, model.run, **feeds, x=1)
assert "1 inputs given" in raised(TypeError, model, 1)
assert "the shape is (1, 5)" in raised(ValueError, model.run, **dict(feeds, steps=np.zeros((1, 5), "f4")))
assert "float64" in raised(ValueError, model.run, **dict(feeds, steps=np.zeros((1, 4))))
assert all("are not possible" in raised(ValueError, package.Model, n) for n in (0, 1025))

found = []
threads = [threading.Thread(target=lambda: found.append(model.run(**feeds))) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 4 and all(f[n].tobytes() == outputs[n].tobytes() for f in found for n in outputs)

child = os.fork()
if not child:
    os._exit(model.run(**feeds)["top"].tobytes() != outputs["top"].tobytes())
assert os.waitpid(child, 0)[1] == 0

package._FLAGS = ("no-such-flag",)
assert "lacks no-such-flag" in raised(RuntimeError, package.Model)
