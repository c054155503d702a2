from .augmentation import augment as augment
from .backend import keras as keras
from .backend import tf as tf
from .bundle import (
    Bundle as Bundle,
)
from .bundle import (
    as_batch as as_batch,
)
from .bundle import (
    load_bundle as load_bundle,
)
from .bundle import (
    predict_logits as predict_logits,
)
from .familiarity import load_familiarity as load_familiarity
from .graph import (
    flatten_network as flatten_network,
)
from .graph import (
    list_map_layers as list_map_layers,
)
from .graph import (
    raise_map as raise_map,
)
from .vgg import (
    build_network as build_network,
)
from .vgg import (
    describe_network as describe_network,
)
from .vgg import (
    gradcam_layer as gradcam_layer,
)
