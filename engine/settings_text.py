"""Settings as TOML text, to show them or to keep them beside a run."""

from typing import Any

from pydantic import BaseModel


def as_toml(settings: BaseModel) -> str:
    """Return settings as TOML that loads back to the same settings; None is left out."""
    return "\n".join(_table(settings.model_dump(mode="json"), "")) + "\n"


def _table(tree: dict[str, Any], path: str) -> list[str]:
    plain = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_value(value)}" for key, value in plain.items() if value is not None]
    for key, value in tree.items():
        if isinstance(value, dict):
            inner = _table(value, f"{path}{key}.")
            lines += ["", f"[{path}{key}]", *inner] if inner else []
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = [f"{key} = {_value(item)}" for key, item in value.items() if item is not None]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return repr(value)
