"""Training: the visible loop and what it needs.

config       `TrainConfig`: every setting of a run, on the command line and on the disk
loop         `fit`: the loop itself
losses       the losses, by name
validation   checks before the first step, and scores of the validation songs
state        what a run needs to go on exactly
record       the files that a run writes into its folder
signals      Ctrl-C and SIGTERM, which stop a run between two steps
"""

import lazy_loader

_NAMES = {
    "config": ["TrainConfig", "config_of_run", "parse_fields", "read_run"],
    "loop": ["FitResult", "batch_loss", "fit", "learning_rate_at", "train_step"],
    "losses": [
        "LOSSES",
        "magnitude_l1",
        "multi_resolution_stft",
        "si_sdr_loss",
        "spectrogram_l1",
        "thresholded_snr",
        "waveform_l1",
        "waveform_mse",
    ],
    "validation": ["do_nothing_scores", "validate"],
    "state": ["TrainState"],
    "record": ["RunRecord"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
