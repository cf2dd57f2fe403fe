"""The architectures, one file each; `mssedu.create_model` builds them by name.

| file         | year | domain               | parameters ("paper")       | notebook |
|--------------|------|----------------------|----------------------------|----------|
| `spleeter`   | 2019 | magnitude, U-Net     | 4 × 9,823,749 = 39,294,996 | 03       |
| `open_unmix` | 2019 | magnitude, LSTM + EM | 4 × 8,893,348 = 35,573,392 | 03       |

The parameters are those of four stems. Every model maps a mixture (batch, channels,
samples) to an estimate (batch, stems, channels, samples) of the same length and carries
its frozen `config`; nothing else in the package needs to know which one it is.
"""
