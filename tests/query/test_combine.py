import numpy as np
import pytest

from core.errors import UsageError
from faces.face import Face, distance
from photos.places import Given
from query.combine import combined
from query.targets import Target
from tests.faces_made import vector


def near(seed: int, noise: int) -> Face:
    embedding = (3 * vector(seed) + vector(noise)).astype(np.float32)
    return Face((noise, 0, 10, 10), (), 1.0, embedding)


def target(name: str, *faces: Face) -> Target:
    return Target(name, Given(b""), faces, None if faces else ("no_face", "No face."))


def test_the_face_that_all_photos_share_is_taken_and_comes_nearer_than_any() -> None:
    stranger, other = near(7, 71), near(8, 81)
    photos = [target("a", stranger, near(1, 11)), target("b", near(1, 12)), target("c", near(1, 13), other), target("nobody")]
    made = combined(photos)
    assert made.name == "a + b + c"
    (face,) = made.faces
    assert face.box[0] == 11, "the one on the first photo"
    alone = [distance(vector(1), each.embedding) for each in (near(1, 11), near(1, 12), near(1, 13))]
    assert distance(vector(1), face.embedding) < min(alone)
    assert distance(vector(7), face.embedding) > 0.5


def test_the_length_of_a_vector_does_not_count() -> None:
    long = Face((1, 0, 1, 1), (), 1.0, (100 * near(1, 11).embedding).astype(np.float32))
    assert distance(combined([target("a", long), target("b", near(1, 12))]).faces[0].embedding, vector(1)) < 0.1


def test_photos_without_any_face_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        combined([target("a"), target("b")])
    assert caught.value.code == "no_face"
