"""Letters that look like Latin ones, as data. Read by folding.py; knows nothing else.

Only what Unicode's own compatibility forms (NFKD) do not already map: other scripts, small capitals, letters in
boxes and circles. Chosen for letters that people take for the Latin one in running text.
"""
# ruff: noqa: RUF001 - look-alike letters are the data here

__all__ = ["LOOKALIKES"]

_BY_LETTER = {
    "a": "аɑαᴀ⍺ꭺᎪ",
    "b": "вьʙβɓƀᏏᏴ",
    "c": "сϲᴄƈɕᏟ",
    "d": "ԁɖɗđᴅꓒᎠ",
    "e": "еєεɛᴇҽᎬ",
    "f": "ƒꜰϝք",
    "g": "ɡɢցǥɠԍᏀ",
    "h": "һհħʜнᎻ",
    "i": "іιıɩɪїᎥ",
    "j": "јϳᴊʝᎫ",
    "k": "кκᴋƙқᏦ",
    "l": "ӏłʟƚɫլᏞ",
    "m": "мᴍɱᎷ",
    "n": "ոηɴпɲŋ",
    "o": "оοօσᴏø",
    "p": "рρᴘƥᏢ",
    "q": "ԛգզɋ",
    "r": "гʀɍɾᎡ",
    "s": "ѕꜱʂᏚ",
    "t": "тτᴛŧƭᎢ",
    "u": "սυᴜʋ",
    "v": "ѵνᴠᏙ",
    "w": "ԝωᴡшᎳ",
    "x": "хχҳ",
    "y": "уγʏүỿ",
    "z": "ᴢƶʐᏃ",
    "ae": "æӕ",
    "oe": "œ",
}

# First letter of a run of 26 in alphabetical order.
_ALPHABETS = (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)

LOOKALIKES = {lookalike: letter for letter, lookalikes in _BY_LETTER.items() for lookalike in lookalikes} | {
    chr(first + offset): chr(ord("a") + offset) for first in _ALPHABETS for offset in range(26)
}
"""Each look-alike, lower case as casefold() leaves it, with the Latin letters it stands for."""
