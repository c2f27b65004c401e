"""Keys: from the environment or a private file, and never shown."""

import traceback
from pathlib import Path

import pytest

from brokers.alpaca.keys import KEY_ID, SECRET, Keys, load_keys, require_keys
from engine.errors import UsageError

KEYS = Keys("PKCANARY00000000ABCD", "canary/secret+of+forty+characters/0123456")


def dotenv(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / ".env"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_environment_is_asked_before_the_file(tmp_path: Path) -> None:
    path = dotenv(tmp_path, f"{KEY_ID}=PKFILE\n{SECRET}=fromfile\n")
    found = load_keys({KEY_ID: " PKENV ", SECRET: "fromenv"}, path)
    assert found == Keys("PKENV", "fromenv")


def test_a_private_file_is_read_word_for_word(tmp_path: Path) -> None:
    path = dotenv(tmp_path, f'{KEY_ID}=PKFILE\n{SECRET}="a${{HOME}}/b+c"\n')
    assert load_keys({}, path) == Keys("PKFILE", "a${HOME}/b+c")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o606, 0o666])
def test_a_file_that_others_may_read_is_refused_unread(tmp_path: Path, mode: int) -> None:
    path = dotenv(tmp_path, f"{KEY_ID}=PKFILE\n{SECRET}=fromfile\n", mode)
    with pytest.raises(UsageError, match="chmod 600") as caught:
        load_keys({}, path)
    assert "fromfile" not in str(caught.value)


def test_half_a_key_is_named_not_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{KEY_ID} but no {SECRET}"):
        load_keys({KEY_ID: "PKENV"})
    with pytest.raises(UsageError, match=f"{SECRET} but no {KEY_ID}"):
        load_keys({}, dotenv(tmp_path, f"{SECRET}=x\n"))


def test_no_keys_anywhere_says_how_to_add_them(tmp_path: Path) -> None:
    assert load_keys({}, tmp_path / ".env") is None
    assert load_keys({KEY_ID: "", SECRET: " "}) is None
    with pytest.raises(UsageError, match=r"chmod 600 \.env"):
        require_keys({}, None)


@pytest.mark.parametrize("text", ["", "with space", "line\nbreak", "tab\t", "ümlaut", "\x7f"])
def test_a_key_that_could_break_a_header_is_refused_unshown(text: str) -> None:
    with pytest.raises(UsageError, match="printable ASCII") as caught:
        Keys("PKENV", text)
    assert not text or text not in str(caught.value)


def test_keys_show_nothing_of_themselves() -> None:
    for text in (repr(KEYS), str(KEYS), f"{KEYS}", f"{[KEYS]}", f"{KEYS!r}"):
        assert text in ("Keys(hidden)", "[Keys(hidden)]")
    assert KEYS.masked == "PK...CD"
    assert Keys("PK1", "x" * 8).masked == "..."


def test_keys_are_blotted_out_of_a_text_in_every_spelling() -> None:
    text = f"{KEYS.key_id} {KEYS.secret} canary\\/secret+of+forty+characters\\/0123456 " + (
        "canary%2Fsecret%2Bof%2Bforty%2Bcharacters%2F0123456"
    )
    assert KEYS.hide(text) == "[hidden] [hidden] [hidden] [hidden]"


def test_a_traceback_with_keys_in_its_frames_shows_nothing() -> None:
    def fails(keys: Keys) -> None:
        raise UsageError(f"no good with {keys}")

    try:
        fails(KEYS)
    except UsageError as error:
        shown = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
    assert "Keys(hidden)" in shown
    assert KEYS.secret not in shown
    assert KEYS.key_id not in shown
