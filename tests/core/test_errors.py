import errno
import pickle

import pytest

from core.errors import FacedexError, PhotoError, StorageError


def test_errors_cross_process_borders_whole() -> None:
    error = PhotoError("The photo is cut off.", code="truncated")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is PhotoError
    assert (str(again), again.code) == ("The photo is cut off.", "truncated")


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOSPC, "disk_full", "the disk is full"),
        (errno.EROFS, "storage", "read-only"),
        (errno.EACCES, "storage", "permission is denied"),
    ],
)
def test_an_os_error_becomes_one_sentence(number: int, code: str, words: str) -> None:
    error = StorageError.of(OSError(number, "whatever"), "write the page", "Choose another file.")
    assert isinstance(error, FacedexError)
    assert error.code == code
    assert words in str(error)
    assert str(error).endswith("; choose another file.")
