"""Text to synthesise: sentences written for this project, put together from parts by a seeded generator."""

import random

_OPENINGS = (
    "In the early morning,", "After the storm,", "Nobody knew why,", "By the old bridge,", "On Thursday,",
    "As far as I can see,", "Without a word,", "Just before noon,", "Every other winter,", "To my great surprise,",
    "Far beyond the harbour,", "If you listen closely,", "When the bell rang twice,", "Years ago,", "Oddly enough,",
    "While the kettle boiled,", "At the edge of the village,", "For once,", "Behind the green door,", "This time,",
)  # fmt: skip
_SUBJECTS = (
    "the young carpenter", "a quiet zoologist", "my neighbour's daughter", "the judge", "an orange balloon",
    "our ship's engineer", "the third violin", "a flock of geese", "your cousin George", "the thoughtful baker",
    "a choir of children", "the yellow tram", "somebody's shadow", "the chief of the fire brigade", "Sophia",
    "an aging poet", "the new measuring device", "a huge wooden wheel", "Doctor Vaughan", "the mayor of the town",
    "a fox with a white tail", "the night watchman", "one of the twins", "the postman's bicycle", "every visitor",
)  # fmt: skip
_VERBS = (
    "carefully measured", "could hardly believe", "pushed aside", "was looking for", "had already finished",
    "never mentioned", "exchanged", "would rather avoid", "wrote a long letter about", "showed us",
    "hurried past", "chose", "gave away", "asked twice about", "laughed at", "tried to repair", "remembered",
    "painted over", "paid sixty-five pounds for", "shouted at", "dreamed of", "sold", "was thinking about", "boiled",
)  # fmt: skip
_OBJECTS = (
    "the broken clock", "a jar of thick honey", "both of the maps", "that peculiar noise", "seven blue envelopes",
    "the measure of the wind", "a pair of leather gloves", "the whole idea", "an unusual treasure", "fresh fish",
    "the judgement of the crowd", "a piece of dark chocolate", "the choice between the two roads", "his voice",
    "the youngest of the horses", "an awkward question", "the garage keys", "some very strange rumours",
    "the first page of the book", "a cup of ginger tea", "eight empty boxes", "the rough side of the stone",
)  # fmt: skip
_ENDINGS = (
    "and went home.", "but it was too late.", "before anyone noticed.", "for no good reason at all.", "with pleasure.",
    "in the pouring rain.", "didn't they?", "as if nothing had happened!", "on the way to the station.", "again.",
    "without the slightest doubt.", "until the lights went out.", "under a cloudy sky.", "much to their joy.",
    "which was a mistake.", "and nobody minded.", "at a quarter past three.", "somewhere in the south.", "of course!",
)  # fmt: skip

_LATIN = (
    (*"bcdfghklmnprstvz", "br", "tr", "st", "pl", "gr", ""),
    (*"aeiouaeio", "ai", "au", "ei"),
    ("", "", "", "", *"nrslmt"),
)
_CYRILLIC = (tuple("бвгджзклмнпрстфхцчшщ"), tuple("аеиоуыяю"), ("", "", "", *"нрслтмй"))
_SYLLABLES = {
    "latin": _LATIN,
    "cyrillic": _CYRILLIC,
}


def sentence(script: str, rng: random.Random) -> str:
    """One sentence: of English words, or of made-up words in `latin` or `cyrillic` letters."""
    if script == "english":
        parts = [rng.choice(part) for part in (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS)]
        opening = rng.choice(("", *_OPENINGS))
        text = " ".join([opening, *parts] if opening else parts)
        return text[0].upper() + text[1:]
    onsets, vowels, codas = _SYLLABLES[script]
    words = [
        "".join(rng.choice(onsets) + rng.choice(vowels) + rng.choice(codas) for _ in range(rng.randint(1, 3)))
        for _ in range(rng.randint(6, 12))
    ]
    words[rng.randint(2, 4)] += ","
    return " ".join(words) + rng.choice("..?!" if script == "latin" else ".")
