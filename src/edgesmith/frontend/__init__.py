"""Reading trained networks: ONNX hygiene in a guarded worker process, and the way from ONNX to the graph."""
