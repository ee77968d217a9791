"""Files whose lists are bombs: what they promise is counted before anything is made of it."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from core.errors import PhotoError
from faces import containers
from faces.photo import decode
from tests.faces.photos_made import EXIF_ORIENTATION, chunk, picture, saved, tiff

PNG = saved(picture(), "PNG")
# A picture of 8 x 8 grey pixels, whose strip starts at 1000.
GREY = {256: (4, 1, 8), 257: (4, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 1000), 278: (4, 1, 8), 279: (4, 1, 64)}


def grey_tiff(extra: dict[int, tuple[int, int, int]], tail: int) -> bytes:
    tags = [(tag, *rest) for tag, rest in sorted((GREY | extra).items())]
    return tiff(tags, bytes(tail))


def with_exif(block: bytes) -> bytes:
    return PNG[:33] + chunk(b"eXIf", block) + PNG[33:]


def taken(data: bytes) -> tuple[str, int]:
    """What became of it, and the most memory that was in use at once."""
    decode(PNG)
    tracemalloc.start()
    try:
        decode(data)
        code = "a photo"
    except PhotoError as error:
        code = error.code
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return code, peak


def test_an_orientation_is_one_number() -> None:
    count = 600_000
    entry = struct.pack("<HHII", EXIF_ORIENTATION, 3, count, 22)
    data = with_exif(b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\6\0" * count)
    code, peak = taken(data)
    assert code == "a photo"
    assert peak < 3 * len(data)  # as numbers they alone would take four times as much
    assert decode(data).width == 40


def test_the_first_orientation_counts() -> None:
    entries = [struct.pack("<HHII", EXIF_ORIENTATION, 3, 1, value) for value in (6, 3)]
    data = with_exif(b"II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries))
    assert (decode(data).width, decode(data).height) == (24, 40)


def test_strips_are_counted_before_they_are_read() -> None:
    count = 250_000
    code, peak = taken(grey_tiff({273: (4, count, 122), 279: (4, count, 122)}, 8 * count))
    assert code == "corrupt"
    assert peak < 1_000_000


def test_numbers_of_any_tag_are_counted() -> None:
    assert taken(grey_tiff({EXIF_ORIENTATION: (3, 250_000, 122)}, 500_000))[0] == "corrupt"
    assert decode(grey_tiff({700: (1, 250_000, 122)}, 500_000)).width == 8  # bytes are not


def test_tags_that_share_their_bytes() -> None:
    own = dict.fromkeys(range(1000, 1003), (7, 50000, 1000))
    assert decode(grey_tiff(own, 200_000)).width == 8
    code, peak = taken(grey_tiff(own | {1003: (7, 50_000, 1000), 1004: (7, 50_000, 1000)}, 200_000))
    assert code == "corrupt"
    assert peak < 100_000


def test_a_tag_that_no_file_could_hold_is_passed_over() -> None:
    assert decode(grey_tiff({60_000: (5, 4_000_000_000, 122)}, 2000)).width == 8


def test_a_bigtiff_is_counted_too() -> None:
    entry = struct.pack("<HHQQ", 273, 4, 250_000, 16)
    code, peak = taken(b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 1) + entry + bytes(1_000_000))
    assert code == "corrupt"
    assert peak < 100_000
    assert decode(saved(picture(), "TIFF", big_tiff=True)).width == 40


def test_boxes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(picture(), "HEIF")
    free = struct.pack(">I4s", 8, b"free")
    monkeypatch.setattr(containers, "MAX_PARTS", 1000)
    assert decode(data + free * 900).width == 40
    with pytest.raises(PhotoError) as caught:
        decode(data + free * 1001)
    assert caught.value.code == "corrupt"


def run_length_bmp(width: int, height: int, body: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + header + bytes(1024) + body


def test_run_length_bitmaps_are_small() -> None:
    assert decode(run_length_bmp(4, 2, b"\4\1\0\0\4\2\0\1")).width == 4
    with pytest.raises(PhotoError, match=r"the limit is 10,000,000\.") as caught:
        decode(run_length_bmp(100_000_000, 1, b"\1\1\0\0\0\1"))
    assert caught.value.code == "too_large"
