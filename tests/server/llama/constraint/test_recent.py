"""What was computed lately is kept by its bytes, not by its number."""

from __future__ import annotations

from zoe_server.llama.constraint.recent import Recent, remembered


def test_the_least_recently_used_go_first() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.put("a", 1, 4)
    recent.put("b", 2, 4)
    assert recent.get("a") == 1
    recent.put("c", 3, 4)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]


def test_as_many_are_kept_as_fit() -> None:
    recent: Recent[int, int] = Recent(100)
    for number in range(100):
        recent.put(number, number, 1)
    assert recent.get(0) == 0
    recent.put(100, 100, 99)
    assert [number for number in range(101) if recent.get(number) is not None] == [0, 100]


def test_one_that_is_too_large_is_kept_until_the_next() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.put("small", 1, 1)
    recent.put("large", 2, 99)
    assert (recent.get("small"), recent.get("large")) == (None, 2)
    recent.put("small", 1, 1)
    assert (recent.get("small"), recent.get("large")) == (1, None)


def test_a_value_that_is_replaced_counts_once() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.put("other", 0, 4)
    for number in range(5):
        recent.put("same", number, 6)
    assert (recent.get("other"), recent.get("same")) == (0, 4)


def test_a_function_remembers_what_its_arguments_have_room_for() -> None:
    computed: list[str] = []

    @remembered(100)
    def is_long(text: str, *, limit: int = 5) -> bool:
        computed.append(text)
        return len(text) > limit

    assert [is_long("abc"), is_long("abc"), is_long("abc", limit=1)] == [False, False, True]
    assert computed == ["abc", "abc"]
    assert is_long("x" * 100)
    assert not is_long("abc")
    assert computed == ["abc", "abc", "x" * 100, "abc"]
