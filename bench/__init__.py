"""Measures Facedex beside its peers. Each module is a program that answers one question."""
