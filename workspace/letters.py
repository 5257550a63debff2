"""What counts as the same letter when names are compared."""

# Letters that Unicode doesn't take apart into a plain one and a mark.
PLAIN_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i"})
