"""Names of the arrays that pass between modules; docstrings add their shapes in brackets."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
FrameArray = NDArray[np.uint8]
