"""The parts of `mssedu.training.loop`.

config.py        every setting, frozen
model_fields.py  settings of the model, as the command line gives them
preflight.py     what would go wrong after an hour, found in the first second
rehearsal.py     one step before the first
state.py         optimizer, step and random numbers, to go on where it was
changes.py       what may change when a run goes on
interrupt.py     Ctrl-C and SIGTERM, answered between two steps
validation.py    scores of whole songs on the way
run_record.py    the folder of a run: curves, history, the best model
run_document.py  config.json of a run, with its phases
"""
