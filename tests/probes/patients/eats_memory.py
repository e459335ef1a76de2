"""Allocates without end."""

PROBE = {
    "name": "eats_memory",
    "title": "Allocates without end.",
    "needs": [],
    "modes": ["run"],
    "seconds": 20,
    "memory_mib": 300,
    "quick": True,
    "variants": ["only"],
}


def run(request):
    eaten = []
    while True:
        eaten.append(bytearray(b"x" * (16 << 20)))
    yield {}
