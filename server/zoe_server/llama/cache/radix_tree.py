"""A tree of the token sequences that slots hold, to find who already has a prompt's beginning.

Radix tree as in SGLang's RadixAttention (Zheng et al. 2023), but accurate to the token and over *running* sequences
too: an edge is split where two sequences diverge, so the second request shares all that the first one has. The tree
knows which tokens a slot holds or will hold; it does not know which of them are computed, nor what a KV cell is.

What a model computes of a token depends on the adapter that was at work, so every adapter has a tree of its own.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from typing import NamedTuple, Protocol


class Prefix(NamedTuple):
    """What a sequence begins with, and the adapter that computed it; None is the model without one."""

    tokens: list[int]
    adapter: str | None = None


class PrefixCache(Protocol):
    """Which slots share how much of a token sequence. Answers of `match` hold until the next mutating call.

    Slots share only what the same adapter computed; None is the model without one.
    `extend` and `truncate` mutate; `match` and `length` do not.
    """

    keeps: bool
    """Whether a finished sequence's tokens are worth keeping."""

    def match(self, tokens: list[int], adapter: str | None = None) -> dict[int, int]:
        """Return, for every slot of `adapter` that shares a leading token with `tokens`, how many it shares."""

    def length(self, slot: int) -> int:
        """Return how many tokens are recorded for `slot`; 0 for an unknown slot."""

    def prefix(self, slot: int) -> Prefix:
        """Return what is recorded for `slot`; nothing for an unknown slot."""

    def extend(self, slot: int, tokens: list[int], adapter: str | None = None) -> None:
        """Append `tokens` to what `slot` holds; a slot unknown so far holds none, and is `adapter`'s from now on."""

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of `slot`; with 0 the slot becomes unknown."""


class NullPrefixCache:
    """Remembers nothing: every request is computed from its first token. The baseline of the benchmark."""

    keeps = False

    def match(self, tokens: list[int], adapter: str | None = None) -> dict[int, int]:
        """Return nothing: no slot shares anything."""
        return {}

    def length(self, slot: int) -> int:
        """Return 0: every slot is unknown."""
        return 0

    def prefix(self, slot: int) -> Prefix:
        """Return nothing: every slot is unknown."""
        return Prefix([])

    def extend(self, slot: int, tokens: list[int], adapter: str | None = None) -> None:
        """Do nothing."""

    def truncate(self, slot: int, length: int) -> None:
        """Do nothing."""


class _Node:
    """An edge of one or more tokens and everything below it; `slots` are those whose tokens include the whole edge."""

    __slots__ = ("children", "edge", "parent", "slots")

    def __init__(self, edge: list[int], parent: _Node | None, slots: set[int]) -> None:
        self.edge = edge
        self.parent = parent
        self.slots = slots
        self.children: dict[int, _Node] = {}


def common_length(edge: Tokens[int], tokens: Tokens[int], start: int) -> int:
    """Return how many leading tokens of `edge` equal `tokens[start:]`, by bisection over slice comparisons."""
    end = min(len(edge), len(tokens) - start)
    if edge[:end] == tokens[start : start + end]:
        return end
    equal = 0  # edge[:equal] equals, edge[:end] does not
    while end - equal > 1:
        middle = (equal + end) // 2
        if edge[equal:middle] == tokens[start + equal : start + middle]:
            equal = middle
        else:
            end = middle
    return equal


class RadixTree:
    """The prefix cache proper.

    Invariants: no edge but a root's is empty; siblings' edges begin differently; a child's slots are a subset of its
    parent's; a slot's tokens end at a node's end; a node whose slots all continue into one child is merged with it.
    """

    keeps = True

    def __init__(self) -> None:
        self._roots: dict[str | None, _Node] = {}
        self._ends: dict[int, _Node] = {}
        self._lengths: dict[int, int] = {}

    def match(self, tokens: list[int], adapter: str | None = None) -> dict[int, int]:
        """Return, for every slot of `adapter` that shares a leading token with `tokens`, how many it shares."""
        shared: dict[int, int] = {}
        node, depth = self._root(adapter), 0
        while depth < len(tokens):
            child = node.children.get(tokens[depth])
            if child is None:
                break
            common = common_length(child.edge, tokens, depth)
            depth += common
            shared.update(dict.fromkeys(child.slots, depth))
            if common < len(child.edge):
                break
            node = child
        return shared

    def length(self, slot: int) -> int:
        """Return how many tokens are recorded for `slot`; 0 for an unknown slot."""
        return self._lengths.get(slot, 0)

    def prefix(self, slot: int) -> Prefix:
        """Return what is recorded for `slot`; nothing for an unknown slot."""
        node = self._ends.get(slot)
        edges: list[list[int]] = []
        while node is not None and node.parent is not None:
            edges.append(node.edge)
            node = node.parent
        adapter = next((adapter for adapter, root in self._roots.items() if root is node), None)
        return Prefix([token for edge in reversed(edges) for token in edge], adapter)

    def extend(self, slot: int, tokens: list[int], adapter: str | None = None) -> None:
        """Append `tokens` to what `slot` holds; a slot unknown so far holds none, and is `adapter`'s from now on."""
        node = self._ends.get(slot) or self._root(adapter)
        if node.parent is not None and len(node.slots) == 1:
            node.edge.extend(tokens)  # alone here, so nothing can hang below
        else:
            self._descend(node, slot, tokens)
            self._merge(node)
        self._lengths[slot] = self.length(slot) + len(tokens)

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of `slot`; with 0 the slot becomes unknown."""
        if length >= self.length(slot):
            return
        node, depth = self._ends[slot], self._lengths[slot]
        while depth - len(node.edge) >= length and node.parent is not None:
            parent = node.parent
            depth -= len(node.edge)
            self._leave(node, slot)
            node = parent
        if depth > length:
            head = self._split(node, length - (depth - len(node.edge)))
            self._leave(node, slot)
            node = head
        if length:
            self._ends[slot], self._lengths[slot] = node, length
        else:
            del self._ends[slot], self._lengths[slot]

    def _root(self, adapter: str | None) -> _Node:
        return self._roots.setdefault(adapter, _Node([], None, set()))

    def _descend(self, node: _Node, slot: int, tokens: list[int]) -> None:
        """Walk from `node` along `tokens`, making and splitting edges, and let `slot` end where they end."""
        position = 0
        while position < len(tokens):
            child = node.children.get(tokens[position])
            if child is None:
                child = _Node(tokens[position:], node, {slot})
                node.children[tokens[position]] = child
                node = child
                break
            common = common_length(child.edge, tokens, position)
            if common < len(child.edge):
                child = self._split(child, common)
            child.slots.add(slot)
            position += common
            node = child
        self._ends[slot] = node

    def _split(self, node: _Node, at: int) -> _Node:
        """Cut `node`'s edge after `at` tokens; return the new upper node. `node` stays the lower one."""
        head = _Node(node.edge[:at], node.parent, set(node.slots))
        if node.parent is not None:
            node.parent.children[head.edge[0]] = head
        node.edge, node.parent = node.edge[at:], head
        head.children[node.edge[0]] = node
        return head

    def _leave(self, node: _Node, slot: int) -> None:
        """Take `slot` out of `node` and restore the invariants there."""
        node.slots.discard(slot)
        parent = node.parent
        if node.slots or parent is None:
            self._merge(node)
            return
        del parent.children[node.edge[0]]
        self._merge(parent)

    def _merge(self, node: _Node) -> None:
        """Join `node` with its only child if every slot of it goes on there (then none ends at `node`)."""
        if node.parent is None or len(node.children) != 1:
            return
        (child,) = node.children.values()
        if child.slots == node.slots:
            child.edge, child.parent = node.edge + child.edge, node.parent
            node.parent.children[child.edge[0]] = child
