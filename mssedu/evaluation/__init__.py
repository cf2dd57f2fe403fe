"""The parts of `mssedu.evaluate`.

estimates.py        where estimates come from: a model, a folder, an oracle
oracles.py          ideal masks, as bounds
scoring.py          which metric, on which frames
track_scores.py     the scores of one track
score_store.py      kept as they are made, so that a run can go on
result.py           all tracks: means, medians, intervals
score_tables.py     tables of them; museval_json.py: museval's files
comparison.py       two runs, paired
published_scores.py the field's table
"""
