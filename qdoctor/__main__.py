"""``python -m qdoctor`` is ``qdoctor``."""

from qdoctor.cli import main

main()
