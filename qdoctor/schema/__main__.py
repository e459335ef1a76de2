"""``python -m qdoctor.schema``: write the schemas anew after a change of the nouns."""

from qdoctor.schema import write

if __name__ == "__main__":
    write()
