"""Pixels to faces to vectors. Knows nothing of Elasticsearch."""
