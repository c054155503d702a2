"""What the panel takes and shows."""

MAX_BYTES = 50_000_000  # of one file
MAX_FILES = 8  # of one study
SHOWN_PX = 1000  # long side of the film in the viewer
TOP = 4095  # the viewer's brightest grey: 12 bit, as most detectors have
