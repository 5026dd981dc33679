"""The ONNX backend node tests, through the whole pipeline: binding, passes, plan, generated C, compiled program."""
