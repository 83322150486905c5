"""The prefix tree against a brute-force reference: a plain list of tokens per slot."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zoe_server.llama.radix import NullPrefixCache, RadixTree, _Node, common_length

SLOTS = st.integers(0, 5)
TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def brute_common(a: list[int], b: list[int]) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


class TreeAgainstLists(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree = RadixTree()
        self.held: dict[int, list[int]] = {}

    @rule(slot=SLOTS, tokens=TOKENS)
    def extend(self, slot: int, tokens: list[int]) -> None:
        self.tree.extend(slot, list(tokens))
        self.held[slot] = self.held.get(slot, []) + tokens

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.held)))
        length = data.draw(st.integers(0, len(self.held[slot])))
        self.tree.truncate(slot, length)
        self.held[slot] = self.held[slot][:length]
        if not length:
            del self.held[slot]

    @rule(tokens=TOKENS)
    def match(self, tokens: list[int]) -> None:
        expected = {slot: n for slot, held in self.held.items() if (n := brute_common(held, tokens))}
        assert self.tree.match(tokens) == expected

    @rule()
    def clear(self) -> None:
        self.tree.clear()
        self.held.clear()

    @invariant()
    def lengths_agree(self) -> None:
        for slot in range(6):
            assert self.tree.length(slot) == len(self.held.get(slot, []))

    @invariant()
    def every_slot_finds_itself(self) -> None:
        for slot, held in self.held.items():
            assert self.tree.match(held)[slot] == len(held)

    @invariant()
    def tree_is_compressed(self) -> None:
        self._check(self.tree._root, set(self.held))

    def _check(self, node: _Node, slots: set[int]) -> None:
        for first, child in node.children.items():
            assert child.edge[0] == first
            assert child.parent is node
            assert child.slots
            assert child.slots <= slots
            if len(child.children) == 1:
                (only,) = child.children.values()
                assert only.slots != child.slots
            self._check(child, child.slots)
        below = [slot for child in node.children.values() for slot in child.slots]
        assert len(below) == len(set(below))


TestTreeAgainstLists = TreeAgainstLists.TestCase


def test_second_request_shares_up_to_the_diverging_token() -> None:
    tree = RadixTree()
    tree.extend(0, [*range(3000), 7, 8])
    assert tree.match([*range(3000), 9]) == {0: 3000}


def test_common_length_counts_from_the_given_start() -> None:
    assert common_length([2, 3, 4], [0, 1, 2, 3, 9], 2) == 2


def test_null_cache_remembers_nothing() -> None:
    cache = NullPrefixCache()
    cache.extend(0, [1, 2, 3])
    assert cache.match([1, 2, 3]) == {}
    assert not cache.keeps
