"""The kernels: found by path and run by the harness; nothing imports them by name."""
