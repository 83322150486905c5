"""Whether a sentence only asks, so that nothing in the home may change because of it.

Two kinds of evidence: how a question begins in the languages below, and the words in it that ask for something to be done
after all ("can you", "please", "if ... then"). Only the first without the second is a question for us; everything else,
and every other language, is left to the model. What it cannot know: what a speaker means. It is made to miss a question
rather than to refuse an order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WORDS: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001 (the apostrophe of typographers)
_SENTENCE: Final = re.compile(r"[.!?;]+\s+\S")


@dataclass(frozen=True, slots=True)
class _Language:
    """How questions begin, and which words make an order of them."""

    openings: tuple[str, ...]
    orders: frozenset[str]


def _language(openings: str, orders: str) -> _Language:
    return _Language(tuple(opening.strip() for opening in openings.split(",")), frozenset(orders.split()))


_LANGUAGES: Final[Mapping[str, _Language]] = {
    "en": _language(
        "is, isn't, are, aren't, was, were, did, what is, what's, what are, what was, what temperature, which, who, "
        "where is, where's, where are, how many, how much, how warm, how cold, how hot, how bright, how high, "
        "how humid, "
        "how long, how is, how's, how are, does, has",
        "please if then turn switch make possible able can could would will should",
    ),
    "de": _language(
        "ist, sind, war, waren, was ist, wie ist, wie sind, wie warm, wie kalt, wie hell, wie hoch, wie viel, "
        "wie viele, "
        "wieviel, wieviele, wo ist, wo sind, welche, welcher, welches, wer, brennt, brennen, läuft, laufen",
        "bitte wenn falls dann sonst schalte schalt mach mache stell stelle möglich kannst könntest würdest sollst "
        "schalten machen stellen",
    ),
    "fr": _language(
        "est-ce que, est-ce qu'il, est-ce qu'elle, est-il, est-elle, sont-ils, sont-elles, quel, quelle, quels, "
        "quelles, "
        "combien, qui, où est, où sont, comment est",
        "si s'il alors sinon plaît plait peux pourrais pouvez pourriez veux possible allume allumer éteins "
        "éteindre mets mettre "
        "ouvre ouvrir ferme fermer",
    ),
    "es": _language(
        "está, están, estaba, hay, cuál, cuáles, cuánto, cuánta, cuántos, cuántas, qué temperatura, quién, "
        "dónde está, "
        "dónde están, cómo está",
        "si entonces favor puedes podrías puede podría quieres enciende encender apaga apagar pon poner abre "
        "abrir cierra "
        "cerrar posible",
    ),
    "nl": _language(
        "is, zijn, was, waren, staat, staan, brandt, branden, wat is, wat zijn, hoe warm, hoe koud, hoe hoog, "
        "hoe is, "
        "hoeveel, welke, welk, wie, waar is, waar zijn",
        "als dan anders alsjeblieft alstublieft kun kan kunt kunnen zou wil mogelijk zet doe maak schakel "
        "zetten doen maken",
    ),
    "it": _language(
        "è, sono, era, erano, c'è, ci sono, qual, quale, quali, quanto, quanta, quanti, quante, chi, dov'è, "
        "dove sono, "
        "com'è, che temperatura",
        "se allora altrimenti favore puoi potresti può potrebbe vuoi accendi accendere spegni spegnere metti "
        "mettere apri "
        "aprire chiudi chiudere possibile",
    ),
}


def only_asks(sentence: str, language: str) -> bool:
    """Return whether `sentence`, in `language` (a tag such as "de-CH"), is a question and surely nothing else."""
    known = _LANGUAGES.get(language.partition("-")[0].lower())
    words = [word.casefold().replace("’", "'") for word in _WORDS.findall(sentence)]  # noqa: RUF001
    if known is None or not words or _SENTENCE.search(sentence):
        return False
    said = " ".join(words) + " "
    return said.startswith(tuple(f"{opening} " for opening in known.openings)) and known.orders.isdisjoint(words)
