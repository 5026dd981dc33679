"""Trains the networks that the other experiments start from.

python benchmarks/compression/baselines.py --data fashion_mnist --seeds 0 1 2
"""

from experiment import parsed

if __name__ == "__main__":
    for experiment in parsed(__doc__):
        for seed in experiment.seeds:
            for name in experiment.networks:
                print(experiment.data, name, seed, f"{experiment.top1(experiment.trained(name, seed)):.2f}", flush=True)
