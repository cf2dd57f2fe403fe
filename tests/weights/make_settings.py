"""Write settings.ckpt, as PyTorch Lightning does with settings of Hydra.

    pip install omegaconf==2.4.0 && python tests/weights/make_settings.py

The state dict is tiny; the settings have every kind of value that a YAML file gives.
"""

from pathlib import Path

import torch

SETTINGS = {
    "optim": {"algo": "adam", "lr": 1e-3, "domains": ["t", "tf"], "epochs": 200},
    "folder": "outputs",
    "log": "${folder}/log",
    "none": None,
    "fast": True,
}

if __name__ == "__main__":
    from omegaconf import OmegaConf

    settings = OmegaConf.create(SETTINGS)
    settings.optim.lr *= 2
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {"w": torch.ones(2)},
        "hyper_parameters": {
            "optim": settings.optim,
            "domains": settings.optim.domains,
            "all": settings,
            "n_fft": 2048,
        },
        "callbacks": {},
        "optimizer_states": [],
    }
    torch.save(content, Path(__file__).with_name("settings.ckpt"))
