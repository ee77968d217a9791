from es.bulk import Operation, parts


def operations(*sizes: int) -> list[Operation]:
    return [Operation("create", ("index", str(number)), (b"x" * (size - 1),)) for number, size in enumerate(sizes)]


def test_requests_are_cut_by_bytes_and_keep_the_order() -> None:
    whole = operations(40, 50, 30, 200, 10, 10)
    cut = list(parts(whole, 100))
    assert [[each.size for each in part] for part in cut] == [[40, 50], [30], [200], [10, 10]]
    assert [each for part in cut for each in part] == whole
    assert list(parts([], 100)) == []


def test_an_operation_is_what_the_server_reads() -> None:
    made = Operation.of({"create": {"_index": "i", "_id": "a"}}, {"person": "Zoë"})
    assert made.key == ("i", "a")
    assert made.lines == (b'{"create":{"_index":"i","_id":"a"}}', b'{"person":"Zo\\u00eb"}')
    assert Operation.of({"delete": {"_index": "i", "_id": "a"}}, None).size == len(b'{"delete":{"_index":"i","_id":"a"}}\n')
