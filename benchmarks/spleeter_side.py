"""The original Spleeter as one side of benchmarks/separation.py, in its own Python.

Its TensorFlow does not go together with our packages:

    python3.11 -m venv spleeter-venv
    spleeter-venv/bin/pip install spleeter==2.4.2
    python benchmarks/separation.py --spleeter spleeter-venv/bin/python

The weights are those of tests/parity/make_spleeter_golden.py. Each line of the input is
one run; a name in it is a file for the mixture (read) and the estimate (written).
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder, InputProviderFactory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from make_spleeter_golden import PUBLISHED_FILTERS, spleeter_parameters, variables


def main() -> None:
    parameters = spleeter_parameters("paper", {})
    stems = parameters["instrument_list"]
    mixture = np.load(sys.argv[1])  # (channels, samples)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        features = InputProviderFactory.get(parameters).get_input_dict_placeholders()
        outputs = EstimatorSpecBuilder(features, parameters).outputs
        values = variables(len(stems), PUBLISHED_FILTERS)
        for variable in tf.compat.v1.global_variables():
            variable.load(values[variable.op.name], session)
        wanted = {stem: outputs[stem] for stem in stems}
        for line in sys.stdin:
            before, cpu = time.perf_counter(), time.process_time()
            estimates = session.run(wanted, {features["waveform"]: mixture.T})
            times = (time.perf_counter() - before, time.process_time() - cpu)
            if line.strip():
                estimate = np.stack([estimates[stem].T for stem in stems])
                np.save(line.strip(), estimate[None])
            print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
