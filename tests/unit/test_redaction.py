"""Secrets are blotted out of everything that is written."""

import io
import logging

from engine.redaction import Redacting, hide

SECRET = "canary/secret+0123456789"


def test_a_log_line_and_its_traceback_lose_the_secret() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Redacting(logging.Formatter("%(message)s"), [SECRET]))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        logger.exception("with %s and %r", SECRET, {"header": SECRET})
    shown = stream.getvalue()
    assert SECRET not in shown
    assert "with [hidden] and {'header': '[hidden]'}" in shown
    assert "ValueError: refused [hidden]" in shown


def test_a_short_text_is_no_secret() -> None:
    assert hide("a cat and an act", ["a", ""]) == "a cat and an act"
