"""Training: the visible loop and what it needs.

config       `TrainConfig`: every option of a run
loop         `fit`: the loop itself
losses       the losses, by name
validation   scores on the validation songs
state        what a stopped run needs to go on exactly
run_record   what a run writes into its folder
"""

import lazy_loader

_NAMES = {
    "config": ["TrainConfig"],
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
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
