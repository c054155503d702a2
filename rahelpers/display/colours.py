"""Colours, dashes and markers that every figure shares; colour is never the only signal."""

# split -> colour and dash
SPLIT_STYLE = {
    "train": ("#7f7f7f", ":"),
    "validation": ("#b58900", "--"),
    "test": ("#00204d", "-"),
    "external": ("#005f73", "-."),
}
# RGB of what favours the positive class, and of what speaks against it; the sign is written too
FOR, AGAINST = (240, 150, 40), (70, 150, 235)
# marker, dash and colour of each line of a figure
LINES = (("o", "-", "#00204d"), ("s", "--", "#7c7b78"), ("^", ":", "#8a6d1b"))
