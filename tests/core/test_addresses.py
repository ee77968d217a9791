import os

import pytest

from core import addresses
from core.errors import UsageError


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ada:secret@host/1.jpg", "https://host/1.jpg"),
        ("sftp://ada:pa/ss@host/1.jpg", "sftp://host/1.jpg"),
        ("sftp://ada:p?a#s@s@host/1.jpg", "sftp://host/1.jpg"),
        ("simplecache::ftp://ada:secret@host/1.jpg", "simplecache::ftp://host/1.jpg"),
        ("s3://bucket/a@b/1.jpg", "s3://bucket/a@b/1.jpg"),
        ("https://host:8080/@ada/1@2x.jpg", "https://host:8080/@ada/1@2x.jpg"),
        ("http://[::1]:80/a@b.jpg", "http://[::1]:80/a@b.jpg"),
        ("https://host/1.jpg?size=2&author=ada#x", "https://host/1.jpg?size=2&author=ada#x"),
        ("/photos/token=1?sig=2.jpg", "/photos/token=1?sig=2.jpg"),
    ],
)
def test_users_and_passwords_are_not_shown(address: str, shown: str) -> None:
    assert addresses.shown(address) == shown
    assert addresses.shown(shown) == shown
    assert not addresses.is_masked(shown)


@pytest.mark.parametrize(
    "name", ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "sig", "token", "api_key", "X%2DGoog%2DSignature"]
)
def test_secrets_of_a_query_are_shown_as_a_hash(name: str) -> None:
    first, second = (addresses.shown(f"https://host/1.jpg?a=1&{name}={secret}&b=2") for secret in ("hunter2", "hunter3"))
    assert "hunter" not in first + second
    assert first != second
    assert first == addresses.shown(first)
    assert first.startswith("https://host/1.jpg?a=1&")
    assert first.endswith("&b=2")
    assert addresses.is_masked(first)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("https://ada:x@host/Ada%20L/1.jpg?size=/2", "/Ada L/1.jpg"),
        ("sftp://ada:secret@host/1.jpg", "/1.jpg"),
        ("s3://bucket", "/"),
        ("s3://bucket/who?/1.jpg", "/who?/1.jpg"),
        ("http://[bad/1.jpg", "/1.jpg"),
    ],
)
def test_a_path_has_no_server(address: str, path: str) -> None:
    assert addresses.path(address) == path


@pytest.mark.parametrize("address", ["http://[bad/1.jpg", "http://exam\u2100ple.com/1.jpg", "http://a:b:c/", "https:///1.jpg"])
def test_what_is_no_address_is_refused_in_one_sentence(address: str) -> None:
    with pytest.raises(UsageError, match="misspelled"):
        addresses.check(address)


def test_addresses_of_files_hold_every_name() -> None:
    assert addresses.file_path("file:///photos/a%20b#1?.jpg") == "/photos/a b#1?.jpg"
    assert addresses.file_path("file://localhost/1.jpg") == "/1.jpg"
    assert os.fsencode(addresses.file_path("file:///caf%e9.jpg")) == b"/caf\xe9.jpg"
    for wrong in ("file://photo.jpg", "file://[1].jpg", "file://"):
        with pytest.raises(UsageError, match="three slashes"):
            addresses.file_path(wrong)


def test_what_no_index_can_hold_is_shortened() -> None:
    long = "/" + "x" * 5000
    assert addresses.is_too_long(long)
    assert addresses.is_too_long("/" + "\u540d" * 1400)
    assert not addresses.is_too_long("/" + "x" * 4000)
    assert len(addresses.shortened(long)) < 300
    assert addresses.shortened(long) != addresses.shortened(long + "x")
