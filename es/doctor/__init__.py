"""What can be wrong with an engine and its collections, each found by a small check that says what to do."""
