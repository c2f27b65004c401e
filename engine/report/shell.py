"""The shell of every page: one HTML file that needs nothing else, online or off.

Everything from a run is escaped; scripts run only if their hash stands in the page's own content
security policy, and that policy allows no request to anywhere.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.report.formats import PERCENT, percent

HERE = Path(__file__).parent
LIBRARY = HERE / "vendor" / "lightweight-charts.standalone.production.js"


def fill(template: str, content: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return a whole page: `content` fills the template, `data` is what the charts draw."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    room = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    room.globals.update(percent=percent, points=_points, heat=_heat)
    scripts = [LIBRARY.read_text(encoding="utf-8"), _text("page.js")]
    return room.get_template(template).render(
        **content,
        policy=_policy(scripts),
        style=Markup(_text("page.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(_safe_json(data)),
    )


def check_row(item: Any) -> dict[str, Any]:
    """Return a check as the page shows it: text, or a mapping of name, passed and text."""
    if isinstance(item, Mapping):
        text = str(item.get("text", ""))
        return {"name": str(item.get("name", "")), "passed": item.get("passed"), "text": text}
    return {"name": "", "passed": None, "text": str(item)}


def _heat(value: float | None) -> str:
    # Five steps either way; 8 % in a month is the strongest.
    if value is None or round(value, 4) == 0:
        return ""
    step = min(5, 1 + int(abs(value) / 0.02))
    return f"{'up' if value > 0 else 'down'}{step}"


def _points(value: float | None) -> str:
    return "n/a" if value is None else percent(value).removesuffix(PERCENT)


def _safe_json(content: Any) -> str:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _policy(scripts: list[str]) -> str:
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
