"""Where an answer says that something was done.

By the perfect tense of the verbs of homes in the languages below ("I have turned on", "wurde eingeschaltet"), and by
answers that say no more than "Done". A clause that also denies, wishes or asks is no claim, and neither is anything in
a long answer: that is a story or an explanation. In other languages nothing is a claim. It is made to miss one rather
than to find one that is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_LONGEST_ANSWER: Final = 240
_CLAUSE: Final = re.compile(r"[^.!?;,:\n]+[.!?;,:\n]?")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")  # noqa: RUF001 (the apostrophe of typographers)


@dataclass(frozen=True, slots=True)
class _Language:
    """How claims are made, where the tense alone says it; words that make any clause none; and answers like "Done"."""

    claim: re.Pattern[str]
    doubts: frozenset[str]
    done: frozenset[str]


def _language(claim: str, participles: str, doubts: str, done: str) -> _Language:
    verbs = "(?:" + "|".join(participles.split()) + ")"
    pattern = re.compile(claim.replace("VERB", rf"\b{verbs}\b").replace("FEW", r"(?:\W+\w+){0,8}?\W+"))
    return _Language(pattern, frozenset(doubts.split()), frozenset(done.split(", ")))


_LANGUAGES: Final[Mapping[str, _Language]] = {
    "en": _language(
        r"\b(?:i|i've|i have|we've|have been|has been)FEWVERB|^\W*(?:ok|okay)?\W*VERB (?:on|off|up|down|the)\b",
        "turned switched opened closed locked unlocked started stopped paused resumed dimmed brightened added "
        "removed "
        "adjusted changed activated deactivated disabled enabled raised lowered increased decreased muted "
        "unmuted armed "
        "disarmed set",
        "not no never can cannot can't could couldn't will would wouldn't should may might must if unable "
        "failed fail "
        "sorry didn't don't doesn't wasn't weren't haven't hasn't nothing until when to want like trying tried "
        "already "
        "already error without",
        "done, all done, it's done, it is done, okay done, ok done",
    ),
    "de": _language(
        r"\b(?:habe|hab|haben|wurde|wurden)FEWVERB",
        "eingeschaltet ausgeschaltet angeschaltet abgeschaltet angemacht ausgemacht geöffnet geschlossen eingestellt "
        "gestellt gesetzt gestartet gestoppt pausiert hinzugefügt entfernt gedimmt aktiviert deaktiviert verriegelt "
        "entriegelt abgeschlossen aufgeschlossen geändert erhöht gesenkt verringert hochgefahren heruntergefahren",
        "nicht kein keine keinen keiner nie konnte könnte kann würde soll sollte wenn falls möchte leider fehler "
        "fehlgeschlagen bereits schon ohne nichts",
        "erledigt, gemacht, fertig, ist erledigt, alles erledigt",
    ),
    "fr": _language(
        r"\b(?:j'ai|a été|ont été)(?:\W+\w+){0,3}?\W+VERB",
        "allumée?s? éteinte?s? ouverte?s? fermée?s? réglée?s? mise?s? activée?s? désactivée?s? verrouillée?s? "
        "déverrouillée?s? démarrée?s? arrêtée?s? ajoutée?s? supprimée?s? baissée?s? augmentée?s? lancée?s?",
        "ne n'ai n'a n'ont pas aucun aucune impossible pu désolé si peux pourrais veux voulez échoué erreur "
        "déjà rien "
        "jamais sans",
        "c'est fait, fait, voilà c'est fait",
    ),
    "es": _language(
        r"\b(?:he|hemos|ha sido|han sido|se ha|se han)(?:\W+\w+){0,3}?\W+VERB",
        "encendid[oa]s? apagad[oa]s? abiert[oa]s? cerrad[oa]s? ajustad[oa]s? puest[oa]s? activad[oa]s? "
        "desactivad[oa]s? "
        "bloquead[oa]s? desbloquead[oa]s? iniciad[oa]s? detenid[oa]s? añadid[oa]s? eliminad[oa]s? subid[oa]s? "
        "bajad[oa]s? "
        "configurad[oa]s?",
        "no ningún ninguna nunca pude puedo podría si quieres siento error ya nada sin",
        "hecho, listo, ya está hecho, está hecho",
    ),
    "nl": _language(
        r"\b(?:heb|hebben|werd|werden)FEWVERB",
        "aangezet uitgezet aangedaan uitgedaan ingeschakeld uitgeschakeld geopend gesloten ingesteld gezet "
        "geactiveerd "
        "gedeactiveerd vergrendeld ontgrendeld gestart gestopt gepauzeerd toegevoegd verwijderd gedimd verhoogd "
        "verlaagd",
        "niet geen kon kan zou als wil sorry mislukt fout nooit al niets zonder helaas",
        "gedaan, klaar, het is gedaan, is gedaan",
    ),
    "it": _language(
        r"\b(?:ho|abbiamo|è stat[oa]|sono stat[ie])(?:\W+\w+){0,3}?\W+VERB",
        "acces[oaie] spent[oaie] apert[oaie] chius[oaie] impostat[oaie] mess[oaie] attivat[oaie] disattivat[oaie] "
        "bloccat[oaie] sbloccat[oaie] avviat[oaie] fermat[oaie] aggiunt[oaie] rimoss[oaie] alzat[oaie] "
        "abbassat[oaie] "
        "regolat[oaie]",
        "non nessun nessuna impossibile posso potrei se vuoi scusa errore mai purtroppo già niente senza",
        "fatto, è fatto, tutto fatto",
    ),
}


def claims_in(answer: str, language: str) -> list[str]:
    """Return the clauses of `answer`, in `language` (a tag such as "de-CH"), that say that something was done."""
    known = _LANGUAGES.get(language.partition("-")[0].lower())
    if known is None or len(answer) > _LONGEST_ANSWER:
        return []
    clauses = _CLAUSE.findall(answer.casefold().replace("’", "'"))  # noqa: RUF001
    return [clause.strip() for clause in clauses if _is_claim(clause, known)]


def _is_claim(clause: str, language: _Language) -> bool:
    words = _WORD.findall(clause)
    if clause.rstrip().endswith("?") or not language.doubts.isdisjoint(words):
        return False
    return " ".join(words) in language.done or bool(language.claim.search(clause))
