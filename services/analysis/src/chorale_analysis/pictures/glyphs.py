"""Letters of three by five dots, for pictures made of dots."""

import numpy as np
import numpy.typing as npt

# Five rows each, top first, of three dots: a digit is the binary number of its row. Small letters
# look like capitals, but for the flat, b, and the m of minor chords.
_DOTS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717",
    "6": "74757", "7": "71122", "8": "75757", "9": "75717", "A": "25755", "B": "65656",
    "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "H": "55755",
    "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555",
    "O": "25552", "P": "65644", "Q": "25563", "R": "65655", "S": "34216", "T": "72222",
    "U": "55557", "V": "55522", "W": "55775", "X": "55255", "Y": "55222", "Z": "71247",
    "#": "57575", "b": "44656", ":": "02020", "/": "11244", ".": "00002", "-": "00700",
    "+": "02720", "(": "24442", ")": "21112", ",": "00024",
    "m": "00775", "♯": "57575", "♭": "44656", "°": "25200",
}  # fmt: skip
SCALE = 2
HEIGHT = 5 * SCALE
ADVANCE = 4 * SCALE


def mask(text: str) -> npt.NDArray[np.bool_]:
    """Which dots of a line of text are inked: `(HEIGHT, ADVANCE * letters)`."""
    line = np.zeros((5, 4 * len(text)), bool)
    for place, letter in enumerate(text):
        rows = _DOTS.get(letter) or _DOTS.get(letter.upper(), "00000")
        for row, bits in enumerate(rows):
            for dot in range(3):
                line[row, 4 * place + dot] = bool(int(bits) >> (2 - dot) & 1)
    return line.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
