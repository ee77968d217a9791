"""Photos of every format, mode and orientation decode; hostile ones are refused with a reason and nothing else."""

from __future__ import annotations

import csv
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import PhotoError
from faces import photo as photo_module
from faces.photo import Photo, decode
from tests.faces.photos_made import EXIF_ORIENTATION, TURNS, chunk, picture, saved, tiff

XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
CODES = {"not_an_image", "truncated", "corrupt", "too_large"}


def code_of(data: bytes, **options: int) -> str:
    with pytest.raises(PhotoError) as caught:
        decode(data, **options)
    return caught.value.code


SAMPLES = {
    "jpeg": saved(picture(), "JPEG", quality=95, subsampling=0),
    "progressive jpeg": saved(picture(), "JPEG", quality=95, subsampling=0, progressive=True),
    "png": saved(picture(), "PNG"),
    "webp": saved(picture(), "WEBP", quality=95),
    "lossless webp": saved(picture(), "WEBP", lossless=True),
    "gif": saved(picture(), "GIF"),
    "bmp": saved(picture(), "BMP"),
    "tiff": saved(picture(), "TIFF"),
    "deflated tiff": saved(picture(), "TIFF", compression="tiff_adobe_deflate"),
    "lzw tiff": saved(picture(), "TIFF", compression="tiff_lzw"),
    "jpeg tiff": saved(picture(), "TIFF", compression="jpeg"),
    "avif": saved(picture(), "AVIF", quality=95),
    "heic": saved(picture(), "HEIF"),
}
each_sample = pytest.mark.parametrize("name", SAMPLES)


@each_sample
def test_every_format_decodes(name: str) -> None:
    photo = decode(SAMPLES[name])
    assert (photo.width, photo.height, photo.pixels.shape) == (40, 24, (24, 40, 3))
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    difference = np.abs(photo.pixels.astype(int) - np.asarray(picture(), int))
    assert difference.mean() < (16 if name == "gif" else 4)


def test_a_photo_does_not_print_its_pixels() -> None:
    assert repr(decode(SAMPLES["png"])) == "Photo(width=40, height=24)"


@pytest.mark.parametrize("orientation", [1, *TURNS])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_orientation_reads_as_the_upright_photo(kind: str, orientation: int) -> None:
    stored = picture().transpose(TURNS[orientation]) if orientation in TURNS else picture()
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind in ("JPEG", "AVIF") else {}
    photo = decode(saved(stored, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options))
    assert (photo.width, photo.height) == (40, 24)
    assert np.abs(photo.pixels.astype(int) - np.asarray(picture(), int)).mean() < 4


@pytest.mark.parametrize("text", [b'<x tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation_is_taken_from_xmp_where_exif_has_none(kind: str, text: bytes) -> None:
    data = SAMPLES[kind.lower()]
    if kind == "JPEG":
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(XMP_HEAD + text) + 2) + XMP_HEAD + text + data[2:]
    else:
        data = data[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text) + data[33:]
    assert (decode(data).width, decode(data).height) == (24, 40)


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"junk" * 9, b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_block_loses_nothing(kind: str, block: bytes) -> None:
    photo = decode(saved(picture(), kind, exif=b"Exif\0\0" + block))
    assert (photo.width, photo.height) == (40, 24)


def test_a_damaged_exif_directory_of_a_tiff_loses_nothing() -> None:
    tags = [(256, 4, 1, 2), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0), (279, 4, 1, 2)]
    tags += [(34665, 4, 1, 4_000_000_000), (34853, 4, 1, 3)]
    tags[5] = (273, 4, 1, 8 + 2 + 12 * len(tags) + 4)
    assert decode(tiff(tags, b"\x10\x20")).pixels.tolist() == [[[16] * 3, [32] * 3]]


# ---- Refusals


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\0" * 5000, b"%PDF-1.7\n", b"8BPS\0\1", b"\x11\xaf" * 9, b"DDS |" * 99, b"GIF88a", b"P6 1 1 255\nabc"]
)
def test_what_is_no_photo(data: bytes) -> None:
    assert code_of(data) == "not_an_image"


def test_the_reason_is_a_sentence() -> None:
    with pytest.raises(PhotoError, match=r"^The file is empty\.$"):
        decode(b"")
    with pytest.raises(PhotoError, match=r"960 pixels \(40 x 24\); the limit is 959\."):
        decode(SAMPLES["png"], max_pixels=959)


@each_sample
def test_the_pixel_limit(name: str) -> None:
    assert code_of(SAMPLES[name], max_pixels=959) == "too_large"
    assert decode(SAMPLES[name], max_pixels=960).width == 40


@each_sample
def test_a_cut_file_is_never_padded(name: str) -> None:
    data, whole = SAMPLES[name], decode(SAMPLES[name]).pixels
    for length in {*range(2, 40), *range(40, len(data), 29), *range(len(data) - 8, len(data))}:
        try:
            assert np.array_equal(decode(data[:length]).pixels, whole)
            assert name == "gif"  # the pixels are there, only the trailer is not
        except PhotoError as error:
            # A TIFF or HEIF whose cut takes the directory, or falls between two boxes, can look damaged.
            assert error.code == "truncated" or (error.code in CODES and (length < 12 or "tiff" in name or name in ("avif", "heic")))


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg"])
def test_the_end_of_a_jpeg(name: str) -> None:
    data, whole = SAMPLES[name], decode(SAMPLES[name]).pixels
    for trailer in (b"\0" * 500, b"\xff" * 9, b"\xff\xda\0\x08 a motion photo", data):
        assert np.array_equal(decode(data + trailer).pixels, whole)
    for cut in (2, len(data) // 3):
        assert code_of(data[:-cut]) == "truncated"
        assert code_of(data[:-cut] + bytes(50_000)) == "truncated"  # a download that never filled its file


def test_a_jpeg_with_too_many_scans() -> None:
    data = saved(Image.new("L", (2000, 1500), 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data[:-2] + last * 20 + b"\xff\xd9").width == 2000
    assert code_of(data[:-2] + last * 1000 + b"\xff\xd9") == "too_large"
    assert code_of(data[:-2] + (b"\xff\xfe\0\x04\xff\xd9" + last) * 1000 + b"\xff\xd9") == "too_large"


def test_metadata_bombs_cost_nothing() -> None:
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000_000)))
    data = SAMPLES["png"]
    assert decode(data[:33] + text * 20 + chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10_000_000))) + data[33:]).width == 40
    data = SAMPLES["jpeg"]
    assert decode(data[:2] + b"\xff\xe1\0\x08Exif\0\0" * 50_000 + data[2:]).width == 40
    assert code_of(data[:2] + b"\xff\xdd\0\x04\0\0" * 200_001 + data[2:]) == "corrupt"


def test_a_giant_tile_is_too_large() -> None:
    body = zlib.compress(bytes(100_000))
    tags = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tags += [(322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 200), (325, 4, 1, len(body))]
    assert code_of(tiff(tags, bytes(200 - 134) + body)) == "too_large"


def test_a_header_that_claims_gigapixels() -> None:
    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    assert code_of(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")) == "too_large"
    gif = bytearray(SAMPLES["gif"])
    gif[6:10] = b"\xff\xff\xff\xff"
    assert code_of(bytes(gif)) == "too_large"


def test_the_host_program_keeps_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # a warning of Pillow's from here on, and warnings are errors here
    assert decode(SAMPLES["png"]).width == 40
    assert Image.MAX_IMAGE_PIXELS == 500


def test_any_error_of_a_decoder_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (
        MemoryError(),
        RecursionError(),
        IndexError("x"),
        struct.error(),
        ZeroDivisionError(),
        Image.DecompressionBombError("(9) 3"),
    ):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(photo_module, "import_module", fail)
        assert code_of(SAMPLES["png"]) in CODES


def test_other_plugins_are_not_loaded() -> None:
    code = (
        "import sys; from faces.photo import decode; decode(sys.stdin.buffer.read());"
        "print(*(name for name in sys.modules if name.endswith('ImagePlugin') or name == 'pillow_heif'))"
    )
    run = subprocess.run([sys.executable, "-c", code], input=SAMPLES["jpeg"], capture_output=True, check=True)
    assert run.stdout.decode().split() == ["PIL.JpegImagePlugin"]


def test_nothing_is_written_on_the_terminal() -> None:
    deflated = bytearray(SAMPLES["deflated tiff"])
    deflated[len(deflated) // 2] ^= 0xFF  # libtiff complains of this
    samples = tiff([(256, 4, 1, 9), (257, 4, 1, 9), (277, 4, 1, 99)], b""), bytes(deflated)  # and Pillow's log of that
    code = "import sys; from faces.photo import decode; decode(sys.stdin.buffer.read())"
    for data in samples:
        run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False)
        assert run.stderr.decode().strip().splitlines()[-1].startswith("core.errors.PhotoError")
        assert b"Traceback" in run.stderr.splitlines()[0]
        assert run.stdout == b""


# ---- Properties


def decodes_or_is_refused(data: bytes) -> None:
    try:
        photo = decode(data, max_pixels=1_000_000)
    except PhotoError as error:
        assert error.code in CODES
    else:
        assert isinstance(photo, Photo)
        assert photo.pixels.shape == (photo.height, photo.width, 3)


@each_sample
def test_any_damage_is_a_photo_or_a_refusal(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    sample = SAMPLES[name]
    places = st.one_of(st.integers(0, len(sample) - 1), st.integers(0, min(120, len(sample) - 1)))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6), st.integers(0, len(sample)) | st.just(len(sample)))
    def check(changes: list[tuple[int, int]], length: int) -> None:
        data = bytearray(sample)
        for place, value in changes:
            data[place] = value
        decodes_or_is_refused(bytes(data[:length]))

    check()
    assert capfd.readouterr() == ("", "")  # libtiff is silent too


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", *(sample[:12] for sample in SAMPLES.values()), *(sample[:40] for sample in SAMPLES.values())]),
    st.binary(max_size=300),
)
def test_any_bytes_are_a_photo_or_a_refusal(head: bytes, rest: bytes) -> None:
    decodes_or_is_refused(head + rest)


# ---- The folder of difficult inputs

PHOTO = "a photo"
ALLOWED = {
    "orient_face": {PHOTO},
    "multi_face": {PHOTO},
    "partial_face": {PHOTO},
    "no_face": {PHOTO},
    "tiny": {PHOTO},
    "odd_valid": {PHOTO},
    "not_image": {"not_an_image"},
    "truncated": {"truncated"},
    "bomb": {"too_large"},
    "corrupt": {PHOTO, "corrupt", "too_large"},  # most are only damaged where no pixels are
    "fuzz": {PHOTO, "corrupt", "truncated"},
}
# What Facedex does not read, whatever is inside.
FOREIGN = {".blp", ".dds", ".eps", ".fli", ".ico", ".j2k", ".jp2", ".psd", ".sgi", ".tga"}
EXTENTS = "decompression_bomb_extents.gif"  # its first frame is small; the bomb is in the second


def outcome(file: Path) -> str:
    try:
        decode(file.read_bytes())
    except PhotoError as error:
        return error.code
    return PHOTO


@pytest.mark.photos
def test_the_difficult_inputs(shared_photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    inputs = shared_photos / "inputs"
    with (inputs / "manifest.csv").open(newline="") as manifest:
        rows = list(csv.DictReader(manifest))
    wrong = []
    for row in rows:
        file = inputs / row["path"]
        allowed = {"not_an_image"} if file.suffix in FOREIGN else {PHOTO} if file.name == EXTENTS else ALLOWED[row["category"]]
        if (got := outcome(file)) not in allowed:
            wrong.append((row["path"], got))
    assert rows
    assert not wrong
    assert capfd.readouterr() == ("", "")


@pytest.mark.photos
@pytest.mark.parametrize("group", ["hopper", "lfw_exif"])
def test_turned_photos_read_as_the_upright_one(shared_photos: Path, group: str) -> None:
    files = sorted((shared_photos / "inputs" / "orient_face").glob(f"*{group}*"))
    upright = decode(next(file for file in files if file.name in ("hopper.jpg", "lfw_exif_1.jpg")).read_bytes()).pixels.astype(int)
    for file in files:
        pixels = decode(file.read_bytes()).pixels
        assert np.abs(pixels - upright).mean() < 8, file.name  # each was compressed anew
