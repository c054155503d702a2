from .config import (
    PROFILES as PROFILES,
)
from .config import (
    RunConfig as RunConfig,
)
from .config import (
    config_from_notebook as config_from_notebook,
)
from .config import (
    load_profile as load_profile,
)
from .config import (
    make_config as make_config,
)
from .store import (
    NOTEBOOK_OF as NOTEBOOK_OF,
)
from .store import (
    STEPS as STEPS,
)
from .store import (
    DamagedArtefactError as DamagedArtefactError,
)
from .store import (
    MissingArtefactError as MissingArtefactError,
)
from .store import (
    Run as Run,
)
from .store import (
    open_run as open_run,
)
