"""Songs with their stems: one Track type, every folder layout, random segments.

folder of songs ──layouts──▶ list of Track ──segments──▶ training items
"""
