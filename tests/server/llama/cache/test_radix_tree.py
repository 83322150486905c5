"""The prefix tree against a brute-force reference: a plain list of tokens per slot."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zoe_server.llama.cache.radix_tree import NullPrefixCache, RadixTree, _Node, common_length

SLOTS = st.integers(0, 5)
ADAPTERS = st.sampled_from([None, "a", "b"])
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
        self.held: dict[int, tuple[str | None, list[int]]] = {}

    @rule(slot=SLOTS, tokens=TOKENS, adapter=ADAPTERS)
    def extend(self, slot: int, tokens: list[int], adapter: str | None) -> None:
        self.tree.extend(slot, list(tokens), adapter)
        began, before = self.held.get(slot, (adapter, []))
        self.held[slot] = began, before + tokens

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.held)))
        adapter, tokens = self.held[slot]
        length = data.draw(st.integers(0, len(tokens)))
        self.tree.truncate(slot, length)
        self.held[slot] = adapter, tokens[:length]
        if not length:
            del self.held[slot]

    @rule(tokens=TOKENS, adapter=ADAPTERS)
    def match(self, tokens: list[int], adapter: str | None) -> None:
        mine = {slot: held for slot, (began, held) in self.held.items() if began == adapter}
        expected = {slot: n for slot, held in mine.items() if (n := brute_common(held, tokens))}
        assert self.tree.match(tokens, adapter) == expected

    @invariant()
    def lengths_agree(self) -> None:
        for slot in range(6):
            assert self.tree.length(slot) == len(self.held.get(slot, (None, []))[1])

    @invariant()
    def every_slot_finds_itself(self) -> None:
        for slot, (adapter, held) in self.held.items():
            assert self.tree.match(held, adapter)[slot] == len(held)

    @invariant()
    def tree_is_compressed(self) -> None:
        for adapter, root in self.tree._roots.items():
            self._check(root, {slot for slot, (began, _) in self.held.items() if began == adapter})

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


def test_what_one_adapter_computed_is_of_no_use_to_another() -> None:
    tree = RadixTree()
    tree.extend(0, [1, 2, 3])
    tree.extend(1, [1, 2, 3], "a")
    assert (tree.match([1, 2, 9]), tree.match([1, 2, 9], "a"), tree.match([1, 2, 9], "b")) == ({0: 2}, {1: 2}, {})
    tree.truncate(1, 0)
    tree.extend(1, [1], "b")
    assert (tree.match([1], "a"), tree.match([1], "b")) == ({}, {1: 1})
