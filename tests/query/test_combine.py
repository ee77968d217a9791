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
    made = combined(photos, 0.5)
    assert made.name == "a + b + c"
    (face,) = made.faces
    assert face.box[0] == 11, "the one on the first photo"
    alone = [distance(vector(1), each.embedding) for each in (near(1, 11), near(1, 12), near(1, 13))]
    assert distance(vector(1), face.embedding) < min(alone)
    assert distance(vector(7), face.embedding) > 0.5


def test_the_length_of_a_vector_does_not_count() -> None:
    long = Face((1, 0, 1, 1), (), 1.0, (100 * near(1, 11).embedding).astype(np.float32))
    assert distance(combined([target("a", long), target("b", near(1, 12))], 0.5).faces[0].embedding, vector(1)) < 0.1


def test_photos_without_any_face_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        combined([target("a"), target("b")], 0.5)
    assert caught.value.code == "no_face"


def test_the_mean_is_judged_by_the_mean_distance_of_its_photos() -> None:
    photos = [target(str(noise), near(1, noise)) for noise in (11, 12, 13)]
    made = combined(photos, 0.5)
    alone = [distance(vector(2), photo.faces[0].embedding) for photo in photos]
    cosine = 1 - distance(vector(2), made.faces[0].embedding)
    assert 1 - made.agreement * cosine == pytest.approx(np.mean(alone), abs=1e-5)
    assert combined(photos[:1], 0.5).agreement == pytest.approx(1)


def test_photos_of_two_people_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        combined([target("a", near(1, 11)), target("b", near(1, 12)), target("odd", near(2, 13))], 0.5)
    assert caught.value.code == "not_the_same_person"
    assert "odd" in str(caught.value)


def test_photos_over_the_years_hang_together_by_those_between() -> None:
    def at(share: float) -> Face:
        return Face((0, 0, 1, 1), (), 1.0, ((1 - share) * vector(1) + share * vector(2)).astype(np.float32))

    assert distance(at(0.2).embedding, at(0.8).embedding) > 0.3
    assert combined([target("young", at(0.2)), target("old", at(0.8)), target("between", at(0.5))], 0.3).name == "young + old + between"
