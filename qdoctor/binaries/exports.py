"""Names that an ELF library exports. Read with pyelftools: rare, and no question of speed."""

from __future__ import annotations

from itertools import islice

from qdoctor.binaries.errors import UnreadableBinary
from qdoctor.binaries.window import Source, opened

_MOST = 1_000_000  # symbols: far above any real library, far below an endless loop
_LIES = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError, MemoryError)


def exported_symbols(source: Source) -> frozenset[str]:
    """Names of the dynamic symbols that a library defines. Raises ``UnreadableBinary``."""
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - kept off the start-up path
    from elftools.construct import ConstructError  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    with opened(source) as file:
        try:
            table = ELFFile(file).get_section_by_name(".dynsym")
            symbols = [] if table is None else list(islice(table.iter_symbols(), _MOST))
            return frozenset(
                symbol.name
                for symbol in symbols
                if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name
            )
        except (ELFError, ConstructError, *_LIES) as error:
            raise UnreadableBinary(f"not a readable ELF library: {error!r:.200}") from error
