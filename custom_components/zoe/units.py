"""How units of measurement are spoken, which many voices cannot read by themselves.

A unit is replaced only behind a number, and only in a language listed here; others hear it as it is written.
"""

from collections.abc import Mapping
from typing import Final

type _Names = tuple[str, str]
"""The name behind the number 1, and behind any other number."""


def _same(name: str) -> _Names:
    return name, name


_EN: Final[Mapping[str, _Names]] = {
    "°": ("degree", "degrees"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "%": _same("percent"),
    "W": ("watt", "watts"),
    "kW": ("kilowatt", "kilowatts"),
    "Wh": ("watt-hour", "watt-hours"),
    "kWh": ("kilowatt-hour", "kilowatt-hours"),
    "lx": _same("lux"),
    "hPa": ("hectopascal", "hectopascals"),
    "km/h": ("kilometre per hour", "kilometres per hour"),
    "m/s": ("metre per second", "metres per second"),
    "mph": ("mile per hour", "miles per hour"),
    "ppm": _same("parts per million"),
    "mm": ("millimetre", "millimetres"),
    "m³": ("cubic metre", "cubic metres"),
    "µg/m³": ("microgram per cubic metre", "micrograms per cubic metre"),
}
_DE: Final[Mapping[str, _Names]] = {
    "°": _same("Grad"),
    "°C": _same("Grad Celsius"),
    "°F": _same("Grad Fahrenheit"),
    "%": _same("Prozent"),
    "W": _same("Watt"),
    "kW": _same("Kilowatt"),
    "Wh": ("Wattstunde", "Wattstunden"),
    "kWh": ("Kilowattstunde", "Kilowattstunden"),
    "lx": _same("Lux"),
    "hPa": _same("Hektopascal"),
    "km/h": _same("Kilometer pro Stunde"),
    "m/s": _same("Meter pro Sekunde"),
    "mph": ("Meile pro Stunde", "Meilen pro Stunde"),
    "ppm": _same("Teile pro Million"),
    "mm": _same("Millimeter"),
    "m³": _same("Kubikmeter"),
    "µg/m³": _same("Mikrogramm pro Kubikmeter"),
}
_FR: Final[Mapping[str, _Names]] = {
    "°": ("degré", "degrés"),
    "°C": ("degré Celsius", "degrés Celsius"),
    "°F": ("degré Fahrenheit", "degrés Fahrenheit"),
    "%": _same("pour cent"),
    "W": ("watt", "watts"),
    "kW": ("kilowatt", "kilowatts"),
    "Wh": ("wattheure", "wattheures"),
    "kWh": ("kilowattheure", "kilowattheures"),
    "lx": _same("lux"),
    "hPa": ("hectopascal", "hectopascals"),
    "km/h": ("kilomètre par heure", "kilomètres par heure"),
    "m/s": ("mètre par seconde", "mètres par seconde"),
    "mph": ("mile par heure", "miles par heure"),
    "ppm": _same("parties par million"),
    "mm": ("millimètre", "millimètres"),
    "m³": ("mètre cube", "mètres cubes"),
    "µg/m³": ("microgramme par mètre cube", "microgrammes par mètre cube"),
}
_ES: Final[Mapping[str, _Names]] = {
    "°": ("grado", "grados"),
    "°C": ("grado Celsius", "grados Celsius"),
    "°F": ("grado Fahrenheit", "grados Fahrenheit"),
    "%": _same("por ciento"),
    "W": ("vatio", "vatios"),
    "kW": ("kilovatio", "kilovatios"),
    "Wh": ("vatio hora", "vatios hora"),
    "kWh": ("kilovatio hora", "kilovatios hora"),
    "lx": _same("lux"),
    "hPa": ("hectopascal", "hectopascales"),
    "km/h": ("kilómetro por hora", "kilómetros por hora"),
    "m/s": ("metro por segundo", "metros por segundo"),
    "mph": ("milla por hora", "millas por hora"),
    "ppm": _same("partes por millón"),
    "mm": ("milímetro", "milímetros"),
    "m³": ("metro cúbico", "metros cúbicos"),
    "µg/m³": ("microgramo por metro cúbico", "microgramos por metro cúbico"),
}
_NL: Final[Mapping[str, _Names]] = {
    "°": ("graad", "graden"),
    "°C": ("graad Celsius", "graden Celsius"),
    "°F": ("graad Fahrenheit", "graden Fahrenheit"),
    "%": _same("procent"),
    "W": _same("watt"),
    "kW": _same("kilowatt"),
    "Wh": _same("wattuur"),
    "kWh": _same("kilowattuur"),
    "lx": _same("lux"),
    "hPa": _same("hectopascal"),
    "km/h": _same("kilometer per uur"),
    "m/s": _same("meter per seconde"),
    "mph": _same("mijl per uur"),
    "ppm": _same("delen per miljoen"),
    "mm": _same("millimeter"),
    "m³": _same("kubieke meter"),
    "µg/m³": _same("microgram per kubieke meter"),
}
_IT: Final[Mapping[str, _Names]] = {
    "°": ("grado", "gradi"),
    "°C": ("grado Celsius", "gradi Celsius"),
    "°F": ("grado Fahrenheit", "gradi Fahrenheit"),
    "%": _same("per cento"),
    "W": _same("watt"),
    "kW": _same("kilowatt"),
    "Wh": ("wattora", "wattora"),
    "kWh": ("kilowattora", "kilowattora"),
    "lx": _same("lux"),
    "hPa": _same("ettopascal"),
    "km/h": ("chilometro all'ora", "chilometri all'ora"),
    "m/s": ("metro al secondo", "metri al secondo"),
    "mph": ("miglio all'ora", "miglia all'ora"),
    "ppm": _same("parti per milione"),
    "mm": ("millimetro", "millimetri"),
    "m³": ("metro cubo", "metri cubi"),
    "µg/m³": ("microgrammo al metro cubo", "microgrammi al metro cubo"),
}
_BY_LANGUAGE: Final[Mapping[str, Mapping[str, _Names]]] = {
    "en": _EN,
    "de": _DE,
    "fr": _FR,
    "es": _ES,
    "nl": _NL,
    "it": _IT,
}
# The Greek letter that many sensors use for "micro", and the signs that stand for a degree and its scale in one.
_SPELLINGS: Final = str.maketrans({"\N{GREEK SMALL LETTER MU}": "µ", "\u2103": "°C", "\u2109": "°F"})


def spoken_unit(unit: str, number: str, language: str) -> str | None:
    """Return how `unit` is said behind `number` (as written, such as "21,5"), or None if it is no unit known here.

    `language` is a language tag such as "de" or "de-CH".
    """
    names = _BY_LANGUAGE.get(language.partition("-")[0].lower(), {}).get(unit.translate(_SPELLINGS))
    if names is None:
        return None
    return names[0] if number.lstrip("+-\N{MINUS SIGN}") == "1" else names[1]
