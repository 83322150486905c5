"""Whether a sentence only asks, so that nothing in the home may change because of it.

Two kinds of evidence: how a question begins in the languages below, and the words in it that ask for something to be
done after all ("can you", "please", "if ... then"). Only the first without the second is a question for us; everything
else, and every other language, is left to the model. What it cannot know: what a speaker means. It is made to miss a
question rather than to refuse an order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WORDS: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001 (the apostrophe of typographers)
_SENTENCE: Final = re.compile(r"[.!?;]\s+\S")


@dataclass(frozen=True, slots=True)
class _Language:
    """How questions begin, how those begin that ask what was done, and which words make an order of either.

    An imperative makes none of a question about the past ("did you turn on ...").
    """

    openings: tuple[str, ...]
    past: tuple[str, ...]
    requests: frozenset[str]
    imperatives: frozenset[str]


def _language(openings: str, past: str, requests: str, imperatives: str) -> _Language:
    requests, imperatives = requests.casefold(), imperatives.casefold()  # "schließe" is heard as "schliesse"
    return _Language(_phrases(openings), _phrases(past), frozenset(requests.split()), frozenset(imperatives.split()))


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(f"{phrase.strip()} " for phrase in text.split(","))


_LANGUAGES: Final[Mapping[str, _Language]] = {
    "en": _language(
        "is, isn't, are, aren't, what is, what's, what are, what was, what temperature, which, who, where is, "
        "where's, "
        "where are, how many, how much, how warm, how cold, how hot, how bright, how high, how humid, how long, "
        "how is, "
        "how's, how are, does",
        "did, has, was, were, have you, had you",
        "please if then possible able can could would will should",
        "turn switch make set dim close shut start stop play",
    ),
    "de": _language(
        "ist, sind, was ist, wie ist, wie sind, wie warm, wie kalt, wie hell, wie hoch, wie viel, wie viele, "
        "wieviel, "
        "wieviele, wo ist, wo sind, welche, welcher, welches, wer, brennt, brennen, läuft, laufen",
        "hast du, hat, haben, wurde, wurden, war, waren",
        "bitte wenn falls dann sonst möglich kannst könntest würdest sollst",
        "schalte schalt schalten mach mache machen stell stelle stellen schließe schließ öffne dimme setze starte "
        "stoppe fahre spiele",
    ),
    "fr": _language(
        "est-ce que, est-ce qu'il, est-ce qu'elle, est-il, est-elle, sont-ils, sont-elles, quel, quelle, quels, "
        "quelles, "
        "combien, qui, où est, où sont, comment est",
        "as-tu, avez-vous, est-ce que tu as, tu as, a-t-il, a-t-elle",
        "si s'il alors sinon plaît plait peux pourrais pouvez pourriez veux possible",
        "allume allumer éteins éteindre mets mettre ouvre ouvrir ferme fermer",
    ),
    "es": _language(
        "está, están, hay, cuál, cuáles, cuánto, cuánta, cuántos, cuántas, qué temperatura, quién, dónde está, "
        "dónde están, cómo está",
        "has, ha, han, estaba, estaban",
        "si entonces favor puedes podrías puede podría quieres posible",
        "enciende encender apaga apagar pon poner abre abrir cierra cerrar",
    ),
    "nl": _language(
        "is, zijn, staat, staan, brandt, branden, wat is, wat zijn, hoe warm, hoe koud, hoe hoog, hoe is, "
        "hoeveel, welke, "
        "welk, wie, waar is, waar zijn",
        "heb je, heeft, hebt u, hebben, was, waren, werd, werden",
        "als dan anders alsjeblieft alstublieft kun kan kunt kunnen zou wil mogelijk",
        "zet doe maak schakel zetten doen maken sluit dim start stop speel",
    ),
    "it": _language(
        "è, sono, c'è, ci sono, qual, quale, quali, quanto, quanta, quanti, quante, chi, dov'è, dove sono, com'è, "
        "che temperatura",
        "hai, ha, hanno, era, erano",
        "se allora altrimenti favore puoi potresti può potrebbe vuoi possibile",
        "accendi accendere spegni spegnere metti mettere apri aprire chiudi chiudere",
    ),
}


def only_asks(sentence: str, language: str) -> bool:
    """Return whether `sentence`, in `language` (a tag such as "de-CH"), is a question and surely nothing else."""
    known = _LANGUAGES.get(language.partition("-")[0].lower())
    words = [word.casefold().replace("’", "'") for word in _WORDS.findall(sentence)]  # noqa: RUF001
    if known is None or _SENTENCE.search(sentence) or not known.requests.isdisjoint(words):
        return False
    said = " ".join(words) + " "
    return said.startswith(known.past) or (said.startswith(known.openings) and known.imperatives.isdisjoint(words))
