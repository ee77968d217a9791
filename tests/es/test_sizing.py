import pytest

from es.index_types import default
from es.sizing import MOST_BYTES, MOST_FACES, layout


@pytest.mark.parametrize(
    ("faces", "nodes", "shards"),
    [
        (0, 1, 1),
        (10_000, 3, 1),  # a search of few faces asks one shard
        (1_000_000, 3, 1),
        (2_999_999, 3, 1),
        (3_000_000, 3, 3),  # one a node, each worth asking
        (3_000_000, 1, 1),
        (10_000_000, 1, 1),
        (10_000_001, 1, 2),
        (100_000_000, 1, 10),
        (100_000_000, 3, 12),  # four a node
        (100_000_000, 30, 30),
        (4_000_000, 6, 3),  # half of the nodes: six would get too little each
        (20_000_000, 30, 15),
        (100_000_000_000, 1, 1024),
    ],
)
def test_few_shards_each_below_a_bound_and_the_same_on_every_node(faces: int, nodes: int, shards: int) -> None:
    assert layout(faces, 128, "int8_hnsw", nodes).shards == shards


@pytest.mark.parametrize("dims", [128, 512, 4096])
@pytest.mark.parametrize("index_type", ["flat", "int8_flat", "bbq_flat", "hnsw", "int8_hnsw", "bbq_hnsw"])
@pytest.mark.parametrize("nodes", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("faces", [1, 999_999, 7_654_321, 250_000_000])
def test_the_bounds_hold_whatever_is_asked(faces: int, nodes: int, index_type: str, dims: int) -> None:
    planned = layout(faces, dims, index_type, nodes)
    assert faces / planned.shards <= MOST_FACES["graph" if "hnsw" in index_type else "bits" if "bbq" in index_type else "flat"]
    assert planned.disk_bytes / (1 + planned.replicas) / planned.shards <= MOST_BYTES
    assert planned.shards % nodes == 0 or nodes % planned.shards == 0
    assert planned.replicas == (1 if nodes > 1 else 0)


@pytest.mark.parametrize(
    ("dims", "index_type", "megabytes"),
    [
        (128, "hnsw", 640),
        (128, "int8_hnsw", 260),
        (128, "int4_hnsw", 196),
        (128, "bbq_hnsw", 158),
        (512, "hnsw", 2176),
        (512, "bbq_hnsw", 206),
    ],
)
def test_memory_follows_the_formula_of_elastic_with_our_m(dims: int, index_type: str, megabytes: int) -> None:
    assert layout(1_000_000, dims, index_type, 1).memory_bytes == megabytes * 1_000_000
    assert layout(1_000_000, dims, index_type, 2).memory_bytes == 2 * megabytes * 1_000_000


def test_what_is_decided_stays() -> None:
    planned = layout(100_000_000, 128, "int8_hnsw", 3, shards=5, replicas=0)
    assert (planned.shards, planned.replicas) == (5, 0)
    assert planned.disk_bytes < planned.peak_disk_bytes


@pytest.mark.parametrize(
    ("faces", "has_cells", "index_type"), [(0, False, "bbq_flat"), (10**8, True, "bbq_flat"), (10**8, False, "bbq_hnsw")]
)
def test_a_graph_only_for_many_faces_without_cells(faces: int, has_cells: bool, index_type: str) -> None:
    assert default(faces, has_cells=has_cells) == index_type
