"""Reads Python sources by their syntax trees: the names they offer, and those they use of others.

Like ``qdoctor.binaries`` for native libraries: it imports nothing of ours and executes nothing of
what it reads, so that one reading serves released wheels (mining) and installed files (facts)
alike, and a name that a release lacks is one that the installed copy lacks by the same rule.
"""
