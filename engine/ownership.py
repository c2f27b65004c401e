"""Refuse to run when another distribution has overwritten one of our top-level packages.

Names like `agents` are common: the later install overwrites files in silence.
"""

import importlib

from engine.errors import UsageError

PACKAGES = ("engine", "strategies", "agents", "brokers")


def require_own_packages(packages: tuple[str, ...] = PACKAGES) -> None:
    """Import every package of ours and check its mark.

    Raises: UsageError naming the package, where it was found and what to do.
    """
    for name in packages:
        module = importlib.import_module(name)
        if getattr(module, "PROJECT", None) != "barwise":
            where = getattr(module, "__file__", None) or list(getattr(module, "__path__", []))
            raise UsageError(
                f"package {name} is not barwise's: found {where}, without our mark; another "
                "distribution has overwritten it: install barwise in an environment of its own"
            )
