"""The parts of `mssedu.train`.

config.py      every setting, frozen
preflight.py   what would go wrong after an hour, found in the first second
state.py       optimizer, step and random numbers, to go on where it was
validation.py  scores of whole songs on the way
run_record.py  the folder of a run: curves, settings, the best model
"""
