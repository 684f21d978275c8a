"""Invented people and sentences for the sample store, in several languages."""

# ruff: noqa: RUF001 - the letters and dashes of these languages are meant

from __future__ import annotations

import random

__all__ = ["AGENTS", "CORRECTIONS", "LANGUAGES", "PROCEDURES", "USERS", "fact", "long_text", "message"]

USERS = ("aiko", "bruno", "chidi", "dalia", "emre", "freya", "gita", "hugo")
AGENTS = ("travel-agent", "support-bot", "kitchen-helper")

_CITIES = (
    "Lisbon",
    "Osaka",
    "Lagos",
    "Izmir",
    "Bergen",
    "Pune",
    "Quito",
    "Tartu",
    "Lyon",
    "Haifa",
    "Cusco",
    "Hue",
)
_DISHES = (
    "ramen",
    "jollof",
    "pão de queijo",
    "hummus",
    "manti",
    "dosa",
    "raclette",
    "ceviche",
    "pierogi",
    "phở",
)
_NAMES = ("Mara", "Tobi", "Inès", "Kenji", "Zeynep", "Olga", "Ravi", "Sol", "Łukasz", "Noor", "Ana", "Björn")
_THINGS = (
    "a red bicycle",
    "a theremin",
    "two cats",
    "a sourdough starter",
    "a film camera",
    "a kayak",
    "a telescope",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

LANGUAGES: dict[str, tuple[str, ...]] = {
    "en": (
        "Lives in {city} and commutes {n} minutes by tram",
        "Is allergic to {dish} since a trip to {city}",
        "Prefers short answers, no more than {n} lines 🙂",
        "Keeps {thing} that {name} gave away on a {day}",
        "Is learning to cook {dish} with {name}",
    ),
    "de": (
        "Wohnt in {city} und hat {n} Pflanzen auf dem Balkon",
        "Mag {dish}, aber keinen Koriander – {name} weiß warum",
        "Größe der Wohnung in {city}: {n} m²",
    ),
    "fr": (
        "A déménagé à {city} il y a {n} mois, avec {name}",
        "Déteste attendre plus de {n} minutes à {city} ☕",
    ),
    "es": (
        "Su tía {name} cocina {dish} los domingos en {city}",
        "¿Vuelos a {city}? Solo por la mañana, máximo {n} euros",
    ),
    "tr": ("{city} şehrinde {n} yıldır yaşıyor", "{name} ile her {n} günde bir {dish} yiyor"),
    "ja": ("{city}に{n}年間住んでいる", "{name}さんと{dish}を食べるのが好き 🍜"),
    "ar": ("يعيش في {city} منذ {n} سنوات", "يفضل {dish} مع {name}"),
    "hi": ("{city} में {n} साल से रहते हैं", "{name} के साथ {dish} पसंद है 🌶️"),
    "zh": ("住在{city}已经{n}年了", "每周和{name}一起吃{dish}"),
    "uk": ("Живе в місті {city} вже {n} років", "Любить {dish}, який готує {name} 🐈‍⬛"),
}

_MESSAGES = (
    ("user", "Can you book {city} for {n} nights? {name} comes along."),
    ("assistant", "Booked: {city}, {n} nights, breakfast with {dish}."),
    ("user", "Please move it to {day}, the tram takes {n} minutes 😅"),
    ("assistant", "Moved to {day}. {name} got the new times as well."),
)
CORRECTIONS = (" (since spring)", " – no longer true on weekends", " – corrected by hand", " ✅")

PROCEDURES = (
    "1. Ask for the dates. 2. Compare {n} fares to {city}. 3. Book with {name}'s card. 4. Send it on {day}.",
    "Open the ticket, tag it '{dish}', wait {n} minutes, then call {name} in {city}.",
)


def _filled(template: str, dice: random.Random) -> str:
    return template.format(
        city=dice.choice(_CITIES),
        dish=dice.choice(_DISHES),
        name=dice.choice(_NAMES),
        thing=dice.choice(_THINGS),
        day=dice.choice(_DAYS),
        n=dice.randint(2, 97),
    )


def fact(dice: random.Random) -> tuple[str, str]:
    """Return a language and a sentence in it."""
    language = dice.choice(list(LANGUAGES))
    return language, _filled(dice.choice(LANGUAGES[language]), dice)


def message(dice: random.Random) -> tuple[str, str, str]:
    """Return role, name and text of one turn."""
    role, template = dice.choice(_MESSAGES)
    return role, dice.choice(_NAMES), _filled(template, dice)


def procedure(dice: random.Random) -> str:
    """Return what an agent has learned to do."""
    return _filled(dice.choice(PROCEDURES), dice)


def long_text(dice: random.Random, size: int) -> str:
    """Return a travel diary of about `size` bytes."""
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(f"{_filled('{day}, {city}', dice)}: {fact(dice)[1]}.\n")
        length += len(parts[-1].encode())
    return "".join(parts)
