"""Training: the visible loop and what it needs.

config       `TrainConfig`: every setting of a run, on the command line
gates        what is tried before the first step, and --overfit
loop         `fit`: the loop itself
batches      what each step reads
step         one step of it: `train_step`, `batch_loss`
losses       the losses, by name
band_losses  those of the papers on band-split networks
objective    their weighted sum, the weights of stems, the penalty on singular values
noise        weights that may be rounded to few bits: `quantization_noise`, `quantized`
optimizers   Adam, AdamW and Muon, and the learning rate of each step
criterion    which weights are the best, and on which excerpts
initial      weights of another run to begin from, and parts that stay frozen
compiling    torch.compile for the blocks that a model repeats
sentinels    where NaN comes from, and whether a model learns at all
validation   checks of the songs, and scores of the validation songs
state        what a run needs to go on exactly
record       the files that a run writes into its folder
pace         one line every so many seconds: how fast it is, and how long it takes
signals      Ctrl-C and SIGTERM, which stop a run between two steps
distributed  several processes that train one model, each on its own card
lock         no second process in a run folder
runs         config.json of a run, and what may change when it goes on
fields       fields of a model's config on the command line
recipe       an experiment as a file: the difference from the defaults
grid         several variants of a recipe, with several seeds
budget       the computing time that a run has taken, and may take; energy: of a card
manifest     what a reader needs in order to repeat a run, and what it took
repeat       a run and its repetition, compared
race         the songs of a race between recipes
"""

import lazy_loader

_NAMES = {
    "config": ["TrainConfig"],
    "fields": ["parse_fields"],
    "recipe": ["Recipe", "find_recipe", "read_recipe"],
    "grid": ["Grid", "GridRun", "read_grid"],
    "budget": ["Stopwatch"],
    "manifest": ["environment", "write_manifest"],
    "repeat": ["Repetition", "compare_runs"],
    "race": ["RaceSongs", "race_songs"],
    "runs": ["config_of_run", "read_run"],
    "loop": ["FitResult", "fit"],
    "step": ["batch_loss", "train_step"],
    "noise": ["quantization_noise", "quantized"],
    "optimizers": ["create_optimizer", "learning_rate_at"],
    "objective": ["create_loss", "svd_penalty"],
    "criterion": ["METRICS", "validation_loss"],
    "initial": ["freeze", "start_from", "train_mode", "transfer"],
    "compiling": ["compile_blocks"],
    "band_losses": ["band_split_l1", "spectrogram_rmse"],
    "losses": [
        "LOSSES",
        "log_wmse_loss",
        "magnitude_l1",
        "magnitude_mse",
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
