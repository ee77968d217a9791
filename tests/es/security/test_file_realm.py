import base64
import hashlib
import json
from pathlib import Path

from es.security.file_realm import User, hashed, new_password, private, roles_yml, write
from es.security.roles import roles

ADA, BERT = User("ada", "secret one", ("reader", "writer")), User("bert", "secret two", ("reader",))


def test_the_three_files_are_closed_and_hold_no_password(tmp_path: Path) -> None:
    write(tmp_path, [ADA, BERT], {"reader": {"cluster": []}})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["roles.yml", "users", "users_roles"]
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert "secret" not in path.read_text()
    assert (tmp_path / "users_roles").read_text() == "reader:ada,bert\nwriter:ada\n"
    assert [line.partition(":")[0] for line in (tmp_path / "users").read_text().splitlines()] == ["ada", "bert"]


def test_a_hash_is_that_of_the_password_with_a_salt_of_its_own() -> None:
    one, other = hashed("secret"), hashed("secret")
    assert one != other
    rounds, salt, digest = one.removeprefix("{PBKDF2}").split("$")
    made = hashlib.pbkdf2_hmac("sha512", b"secret", base64.b64decode(salt), int(rounds), 32)
    assert base64.b64decode(digest) == made


def test_every_role_begins_with_the_only_line_that_is_not_indented() -> None:
    known = roles(["staff", "staff-old"])
    text = roles_yml(known)
    assert [line for line in text.splitlines() if not line.startswith(" ")] == [f"{name}:" for name in known]
    for name, role in known.items():
        body = text.partition(f"{name}:\n")[2]
        assert json.JSONDecoder().raw_decode(body.lstrip())[0] == role


def test_passwords_are_new_and_are_not_shown() -> None:
    assert new_password() != new_password()
    assert "secret" not in repr(ADA)


def test_a_file_is_replaced_whole_and_stays_closed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("old")
    (tmp_path / "key").chmod(0o644)
    private(tmp_path / "key", "new")
    assert (tmp_path / "key").read_text() == "new"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
