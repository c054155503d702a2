from .exports import (
    write_dicom as write_dicom,
)
from .exports import (
    write_html as write_html,
)
from .exports import (
    write_json as write_json,
)
from .exports import (
    write_pdf as write_pdf,
)
from .film import (
    answer_hand as answer_hand,
)
from .film import (
    predict_films as predict_films,
)
from .film import (
    read_hands as read_hands,
)
