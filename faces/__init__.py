"""Pixels to faces to vectors. Knows nothing of Elasticsearch."""

import os

# Before onnxruntime is imported anywhere: it would report its use, with an id of the machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
