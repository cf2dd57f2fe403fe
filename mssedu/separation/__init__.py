"""The parts of `mssedu.separate` and `mssedu.separation.files`.

config.py  file_config.py   every setting, frozen
chunks.py                   where chunks lie, and how much of them is kept
overlap_add.py              the loop: chunks in, a song out
inference.py  fallback.py   fast forwards; less memory when it runs out
refine.py                   filters, averages, sums that fit the mixture
song.py  song_files.py      one song in blocks, one song in files
report.py                   what is told about a song: levels, seams, speed
"""
