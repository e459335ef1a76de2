"""Reads released wheels and writes what they say into ``matrix/``."""
