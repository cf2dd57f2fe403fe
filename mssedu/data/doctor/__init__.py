"""The doctor for data sets behind `mssedu data check`: all faults at once.

audit          measures all songs, applies the rules, and lists the findings
measure        what the files of a song hold
alignment      how stems fit into the mixture: lag, gain, polarity
faults         the rules for one song
set_faults     the rules for all songs together
errata         known errors of the songs of MUSDB18
fingerprints   one recording in two songs
repair         a copy of a data set in which the safe faults are fixed
"""

import lazy_loader

_NAMES = {
    "audit": ["Audit", "Finding", "audit_dataset"],
    "measure": ["SongMeasures", "measure_song"],
    "alignment": ["Fit", "fit_stems"],
    "fingerprints": ["Landmarks", "Match", "landmarks", "matches"],
    "repair": ["repair_dataset"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
