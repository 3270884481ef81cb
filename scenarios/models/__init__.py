"""Models: train, evaluate, calibrate and import HCMRM; fit a click model; time a scorer."""
