"""Colours, dashes and marks that every figure shares."""

SPLIT_STYLE = {
    "train": ("#7f7f7f", ":"),
    "validation": ("#b58900", "--"),
    "test": ("#00204d", "-"),
    "external": ("#005f73", "-."),
}  # shade and dash: never colour alone
FOR, AGAINST = (
    (240, 150, 40),
    (
        70,
        150,
        235,
    ),
)  # RGB of what speaks for the positive class, and against it; the sign is always written too
LINES = (
    ("o", "-", "#00204d"),
    ("s", "--", "#7c7b78"),
    ("^", ":", "#8a6d1b"),
)  # mark, dash and colour of each line of a figure
