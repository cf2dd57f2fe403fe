"""What `mssedu.audio` rests on, and streams of blocks for songs of any length.

containers.py   what FFmpeg decodes: mp3, m4a, stems in one file
stream.py       a file read, and resampled, block by block
writer.py       blocks written to a file that is whole or not there
"""
